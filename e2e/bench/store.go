package main

import (
	"os"
	"path/filepath"
	"time"
)

// flushLoop measures the limit of one writer without a group commit: a write and
// a flush per event, into a file that has its size already.
func (b *bench) flushLoop(dir string) (perSecond float64, err error) {
	const size = 16 << 20
	path := filepath.Join(dir, "flushes")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // a temporary file
	if err := f.Sync(); err != nil {
		return 0, err
	}
	record := []byte(notification(1))
	began := time.Now()
	n := 0
	for ; time.Since(began) < b.span; n++ {
		if _, err := f.WriteAt(record, int64(n*len(record))%(size-1<<20)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}
