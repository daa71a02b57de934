package inbox

import (
	"os"

	"golang.org/x/sys/unix"
)

// fdatasync flushes a file without its timestamps.
func fdatasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
