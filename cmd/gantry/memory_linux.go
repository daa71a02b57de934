package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// releaseProgram gives back the pages of the program's file, of which the start reads
// three quarters, to register types. The kernel maps them again when they are needed,
// mostly without reading the file, and nearly half never are.
func releaseProgram(log *slog.Logger) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		log.Debug("memory of the start", "error", err)
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		log.Debug("memory of the start", "error", err)
		return
	}
	defer maps.Close() //nolint:errcheck // it was read
	for _, m := range unwritable(maps, program) {
		if _, _, failed := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); failed != 0 {
			log.Debug("memory of the start", "error", failed)
		}
	}
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// unwritable returns the mappings of a file that only the file fills. Those that can be
// written have variables.
func unwritable(maps io.Reader, file string) (found []mapping) {
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var m mapping
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &m.from, &m.to, &mode); err != nil {
			continue
		}
		if strings.HasSuffix(lines.Text(), " "+file) && strings.HasPrefix(mode, "r-") {
			found = append(found, m)
		}
	}
	return found
}
