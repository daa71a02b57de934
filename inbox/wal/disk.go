package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gantryhq/gantry/folder"
)

// Files beside the segments.
const (
	spareName    = "spare"
	ballastName  = "ballast"
	ballastBytes = 2 << 20
)

// File is an open file of the log.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

// disk is the folder of the log.
type disk struct {
	dir  string
	size int64 // of a new segment
	open func(path string, flags int) (File, error)
}

func openFile(path string, flags int) (File, error) { return os.OpenFile(path, flags, 0o600) }

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// file is a segment's file. Each write is on disk when it returns.
type file struct {
	File
	path   string
	opened fs.FileInfo
}

func (d *disk) openSegment(name string) (*file, error) {
	f, err := d.open(d.path(name), os.O_RDWR|syscall.O_DSYNC)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	return &file{f, d.path(name), opened}, err
}

// inPlace reports whether what was written is where the next process looks for it. A file
// of a folder that was removed, moved away or mounted over takes writes without an error.
func (f *file) inPlace() error {
	switch there, err := os.Stat(f.path); {
	case err != nil:
		return fmt.Errorf("find what was written: %w; was the folder removed?", err)
	case !os.SameFile(there, f.opened):
		return fmt.Errorf("find what was written: %s is another file now; was the folder replaced?", f.path)
	}
	return nil
}

// create writes a new file, which has its name once it is on disk: the content,
// and zeros up to a size. An older file of that name is replaced.
func (d *disk) create(name string, content []byte, size int64) (err error) {
	draft := d.path(name + ".new")
	f, err := d.open(draft, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	zeros := make([]byte, min(max(0, size-int64(len(content))), 256<<10))
	for at := int64(len(content)); at < size && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(size-at, int64(len(zeros)))], at)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(draft, d.path(name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return d.sync()
}

// sync flushes the folder's entries.
func (d *disk) sync() error {
	f, err := d.open(d.dir, os.O_RDONLY)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// reserve creates a file of a size unless it exists.
func (d *disk) reserve(name string, size int64) error {
	if _, err := os.Stat(d.path(name)); err == nil {
		return nil
	}
	return d.create(name, newHeader(), size)
}

// next makes the spare a segment, or creates one if there is no spare.
func (d *disk) next(name string) (*file, error) {
	err := os.Rename(d.path(spareName), d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		err = d.create(name, newHeader(), d.size)
	}
	if err = errors.Join(err, d.sync()); err != nil {
		return nil, err
	}
	return d.openSegment(name)
}

// aside gives a damaged file a second name and describes the damage, unless it has one.
func (d *disk) aside(name string, kept int) (*Damage, error) {
	if known, err := filepath.Glob(d.path(name + ".damaged-*")); len(known) > 0 || err != nil {
		return nil, err
	}
	to := folder.Aside(d.path(name))
	return &Damage{to, fmt.Sprintf("%s is damaged: %d records can be read; a copy is %s", name, kept, to)}, os.Link(d.path(name), to)
}
