package inbox

import (
	"os"
	"syscall"
)

// syncData flushes what was written. Segments are preallocated, so there is no
// metadata to wait for, and fdatasync costs about half of fsync.
func syncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == syscall.EINTR {
			continue
		}
		return os.NewSyscallError("fdatasync", err)
	}
}
