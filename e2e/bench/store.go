package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// millionTime bounds the time that a million events may take.
const millionTime = 2 * time.Minute

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

// million sends the rest of a million events, and prints what the process then
// has in memory and on disk.
func (b *bench) million(ctx context.Context, t io.Writer, p *program, dir, state string, sent int64) error {
	for began := time.Now(); sent < 1_000_000 && time.Since(began) < millionTime; {
		r, err := drive(ctx, p.address, 16, 5*b.span)
		if err != nil {
			return err
		}
		sent += r.count
	}
	memory, err := p.residentMB()
	if err != nil {
		return err
	}
	disk, err := folderBytes(dir)
	if err != nil {
		return err
	}
	each := disk / max(1, sent)
	fmt.Fprintf(t, "%s: after %d events %.0f MB resident (target < 60 MB: %s), %d bytes on disk each (target ≤ 1,400: %s)\n",
		state, sent, memory, verdict(memory < 60), each, verdict(each <= 1400))
	return nil
}
