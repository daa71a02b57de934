//go:build unix

package inbox

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the lock, or says that another process holds it. The lock
// goes with the process: a kill leaves nothing to clean up.
func lockFile(f *os.File) (held bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, os.NewSyscallError("flock", err)
}

// unlockFile gives the lock up. Closing the file would do, but for a child
// process that was started just now and still shares it.
func unlockFile(f *os.File) error {
	return os.NewSyscallError("flock", syscall.Flock(int(f.Fd()), syscall.LOCK_UN))
}
