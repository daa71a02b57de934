package inbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gantryhq/gantry/folder"
)

const (
	spareName   = "spare"
	ballastName = "ballast"

	ballastBytes = 2 << 20
)

// disk is the folder of the log. New segments are written with zeros in advance,
// because a flush is three times as fast if it changes only data: the spare becomes
// the next segment. The ballast is room for the moment when the disk is full.
type disk struct {
	dir    string
	size   int64      // of a new segment
	faults *faults    // nil outside tests
	mu     sync.Mutex // of prepare
}

// faults let tests play a bad disk.
type faults struct {
	write func(name string, offset int64, p []byte) (n int, err error) // n bytes are written before the error
	sync  func(name string) error
}

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// file is a file of the log. If it was opened for segments, each write is on disk
// when it returns.
type file struct {
	*os.File
	disk   *disk
	name   string
	opened os.FileInfo
}

func (d *disk) openFile(name string, flags int) (*file, error) {
	f, err := os.OpenFile(d.path(name), os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	return &file{f, d, name, opened}, err
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	if f.disk.faults != nil && f.disk.faults.write != nil {
		if n, err := f.disk.faults.write(f.name, at, p); err != nil {
			_, _ = f.File.WriteAt(p[:n], at)
			return n, err
		}
	}
	return f.File.WriteAt(p, at)
}

// flushed reports whether what was written is where the next process looks for it. A file
// of a folder that was removed, moved away or mounted over takes writes without an error.
// Tests may want an error as well.
func (f *file) flushed() error {
	if f.disk.faults != nil && f.disk.faults.sync != nil {
		if err := f.disk.faults.sync(f.name); err != nil {
			return err
		}
	}
	switch there, err := os.Stat(f.Name()); {
	case err != nil:
		return fmt.Errorf("find what was written: %w; was the folder removed?", err)
	case !os.SameFile(there, f.opened):
		return fmt.Errorf("find what was written: %s is another file now; was the folder replaced?", f.Name())
	}
	return nil
}

// create writes a new file, which has its name once it is on disk: the content,
// and zeros up to a size. An older file of that name is replaced.
func (d *disk) create(name string, content []byte, size int64) (err error) {
	f, err := d.openFile(name+".new", os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	zeros := make([]byte, min(max(0, size-int64(len(content))), 256<<10))
	for at := int64(len(content)); at < size && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(size-at, int64(len(zeros)))], at)
	}
	if err == nil {
		err = errors.Join(f.flushed(), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(d.path(name+".new"), d.path(name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(d.path(name+".new")))
	}
	return folder.Sync(d.dir)
}

// reserve creates an empty segment under another name.
func (d *disk) reserve(name string, size int64) error {
	return d.create(name, newHeader(), size)
}

// prepare creates the spare and the ballast unless they exist.
func (d *disk) prepare() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, size := range map[string]int64{spareName: d.size, ballastName: min(ballastBytes, d.size)} {
		if _, err := os.Stat(d.path(name)); err == nil {
			continue
		}
		if err := d.reserve(name, size); err != nil {
			return err
		}
	}
	return nil
}

// dropBallast deletes the ballast to make room.
func (d *disk) dropBallast() { _ = os.Remove(d.path(ballastName)) }

// next makes the spare a segment, or creates one if there is no spare.
func (d *disk) next(name string) (*file, error) {
	err := os.Rename(d.path(spareName), d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		err = d.reserve(name, d.size)
	}
	if err = errors.Join(err, folder.Sync(d.dir)); err != nil {
		return nil, err
	}
	return d.openFile(name, syscall.O_DSYNC)
}

// aside gives a damaged file a second name and reports it, unless it has one.
func (d *disk) aside(name string, kept int) (*damage, error) {
	if known, err := filepath.Glob(d.path(name + ".damaged-*")); len(known) > 0 || err != nil {
		return nil, err
	}
	to := d.path(name) + damagedNow()
	return &damage{to, fmt.Sprintf("%s is damaged: %d records can be read; a copy is %s", name, kept, to)}, os.Link(d.path(name), to)
}

// damagedNow is the end of a damaged file's second name.
func damagedNow() string { return ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z") }
