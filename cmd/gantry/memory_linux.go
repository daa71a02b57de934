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

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

type mappings []mapping

// programFile returns the mappings of the program's file; none if they can't be read.
func programFile(log *slog.Logger) mappings {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		log.Debug("memory of the program's file", "error", err)
		return nil
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		log.Debug("memory of the program's file", "error", err)
		return nil
	}
	defer maps.Close() //nolint:errcheck // it was read
	return unwritable(maps, program)
}

// release gives back the pages of a file. The start reads three quarters of the program's,
// to register types, and later the kernel maps 64 KB for each place that is read. It maps
// again what is needed, mostly without reading the file.
func (all mappings) release(log *slog.Logger) {
	for _, m := range all {
		if _, _, failed := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); failed != 0 {
			log.Debug("memory of the program's file", "error", failed)
		}
	}
}

// unwritable returns the mappings of a file that only the file fills. Those that can be
// written have variables.
func unwritable(maps io.Reader, file string) (found mappings) {
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
