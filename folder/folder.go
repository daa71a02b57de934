// Package folder holds what a store does with its folder as a whole: it locks it
// against other processes, flushes its entries, and replaces its files.
package folder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrInUse reports that another process has the lock.
var ErrInUse = errors.New("another process uses it")

// lockName is the name of the file that carries the lock.
const lockName = "lock"

// recheck is the time between two attempts to take a lock.
const recheck = 100 * time.Millisecond

// Lock takes the lock of a folder. It waits for the process that has it, such as the one
// that a rolling update replaces, at most for the given time; then it returns ErrInUse.
// The lock ends with Unlock or with the process.
func Lock(ctx context.Context, dir string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s is not writable: %w", dir, err)
	}
	for deadline := time.Now().Add(wait); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(err, f.Close())
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(ErrInUse, f.Close())
		}
		select {
		case <-time.After(recheck):
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		}
	}
}

// Unlock releases a lock explicitly: a process that is being started may have a copy of
// the file, and closing ours would leave the lock with it.
func Unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// Sync flushes the entries of a folder.
func Sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Replace writes a new file beside another and has it take that one's place, so that there
// is a complete file at any time, even after a crash: the old one or the new one. accept
// receives the new file's path first, and can refuse it by an error; nil accepts it.
func Replace(path string, content []byte, mode os.FileMode, accept func(written string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	// Flushed before it is renamed: a power cut would leave an empty file.
	err = errors.Join(err, f.Chmod(mode.Perm()), f.Sync(), f.Close())
	if err == nil && accept != nil {
		err = accept(f.Name())
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

const (
	asideMark = ".damaged-"
	asideTime = "20060102T150405.000Z"
)

// Aside returns a name for a damaged file beside its own, with the time.
func Aside(path string) string { return path + asideMark + time.Now().UTC().Format(asideTime) }

// PutAside returns the time in a name that Aside returned; of any other name, zero.
func PutAside(name string) time.Time {
	_, text, _ := strings.Cut(filepath.Base(name), asideMark)
	at, _ := time.Parse(asideTime, text)
	return at
}
