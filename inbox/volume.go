package inbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft-wal/types"
)

const (
	lockName    = "lock"
	spareName   = "spare"
	ballastName = "ballast"

	ballastBytes = 2 << 20

	frameHeader = 8        // of raft-wal
	readBuffer  = 64 << 10 // raft-wal reads that much for each record
	readGuess   = 4 << 10  // most records are shorter
)

var errInUse = errors.New("another process uses it")

// volume is the folder of the log and raft-wal's file system. New segments are
// written with zeros in advance, because a flush is three times as fast if it
// changes only data: the spare becomes the next segment. The ballast is room for
// the moment when the disk is full.
type volume struct {
	dir     string
	size    int64      // of a new segment
	faults  *faults    // nil outside tests
	opened  *file      // the last one opened for writing
	loading bool       // the log is being opened
	mu      sync.Mutex // of prepare
}

// faults let tests play a bad disk.
type faults struct {
	write func(name string, offset int64, p []byte) (n int, err error) // n bytes are written before the error
	sync  func(name string) error
}

func (v *volume) path(name string) string { return filepath.Join(v.dir, name) }

// ListDir implements raft-wal's VFS, like the methods below.
func (v *volume) ListDir(string) (names []string, err error) {
	entries, err := os.ReadDir(v.dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Create makes the spare the new segment, or writes one if there is no spare.
func (v *volume) Create(_, name string, _ uint64) (types.WritableFile, error) {
	err := os.Rename(v.path(spareName), v.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		err = v.reserve(name, v.size)
	}
	if err == nil {
		err = syncDir(v.dir)
	}
	if err != nil {
		return nil, err
	}
	return v.OpenWriter("", name)
}

// Delete deletes a segment. If it reappears after a power cut, it is deleted
// again.
func (v *volume) Delete(_, name string) error { return os.Remove(v.path(name)) }

// OpenReader opens a segment for reading.
func (v *volume) OpenReader(_, name string) (types.ReadableFile, error) {
	f, err := os.Open(v.path(name))
	return &file{File: f, v: v, name: name}, err
}

// OpenWriter opens a segment for reading and writing.
func (v *volume) OpenWriter(_, name string) (types.WritableFile, error) {
	f, err := os.OpenFile(v.path(name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	v.opened = &file{File: f, v: v, name: name}
	if v.loading {
		v.opened.image, err = io.ReadAll(f)
	} else {
		v.opened.scanned = -1
	}
	return v.opened, err
}

// reserve creates a file of zeros, which has its name once it is on disk.
func (v *volume) reserve(name string, size int64) (err error) {
	tmp := name + ".new"
	f, err := os.OpenFile(v.path(tmp), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	zeros := &file{File: f, v: v, name: tmp}
	chunk := make([]byte, min(size, 256<<10))
	for at := int64(0); at < size && err == nil; at += int64(len(chunk)) {
		_, err = zeros.WriteAt(chunk, at)
	}
	if err == nil {
		err = zeros.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(v.path(tmp), v.path(name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(v.path(tmp)))
	}
	return syncDir(v.dir)
}

// prepare creates the spare and the ballast unless they exist.
func (v *volume) prepare() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, size := range map[string]int64{spareName: v.size, ballastName: min(ballastBytes, v.size)} {
		if _, err := os.Stat(v.path(name)); err == nil {
			continue
		}
		if err := v.reserve(name, size); err != nil {
			return err
		}
	}
	return nil
}

// dropBallast deletes the ballast to make room.
func (v *volume) dropBallast() { _ = os.Remove(v.path(ballastName)) }

// aside renames a damaged file, so that nothing reads it again.
func (v *volume) aside(name string) (string, error) {
	to := v.path(fmt.Sprintf("%s.damaged-%s", name, time.Now().UTC().Format("20060102T150405.000Z")))
	return to, errors.Join(os.Rename(v.path(name), to), syncDir(v.dir))
}

// lock waits for the lock of the folder, at most for the given time.
func (v *volume) lock(ctx context.Context, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(v.path(lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s is not writable: %w", v.dir, err)
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
			return nil, errors.Join(errInUse, f.Close())
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		}
	}
}

// unlock releases the lock explicitly: a process that is being started may have a
// copy of the file.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// file is a file of the log.
type file struct {
	*os.File
	v       *volume
	name    string
	scanned int64  // how far frames were read while opening; -1 afterwards
	image   []byte // the whole file, while opening
}

// ReadAt reads a guess where raft-wal asks for a whole buffer: it reads the rest
// of a longer record exactly. No record has the length of the buffer.
func (f *file) ReadAt(p []byte, at int64) (int, error) {
	switch {
	case len(p) == readBuffer:
		n, err := f.read(p[:readGuess], at)
		if err == nil {
			err = io.EOF
		}
		return n, err
	case len(p) == frameHeader && f.scanned >= 0:
		f.scanned = max(f.scanned, at)
	}
	return f.read(p, at)
}

func (f *file) read(p []byte, at int64) (int, error) {
	if f.image == nil {
		return f.File.ReadAt(p, at)
	}
	n := copy(p, f.image[min(at, int64(len(f.image))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	if f.v.faults != nil && f.v.faults.write != nil {
		if n, err := f.v.faults.write(f.name, at, p); err != nil {
			_, _ = f.File.WriteAt(p[:n], at)
			return n, err
		}
	}
	return f.File.WriteAt(p, at)
}

// Sync flushes the data.
func (f *file) Sync() error {
	if f.v.faults != nil && f.v.faults.sync != nil {
		if err := f.v.faults.sync(f.name); err != nil {
			return err
		}
	}
	return fdatasync(f.File)
}

// leftover reports whether there is data beyond an offset, while opening.
func (f *file) leftover(at int64) bool {
	return len(bytes.TrimLeft(f.image[min(at, int64(len(f.image))):], "\x00")) > 0
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
