package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/gantryhq/gantry/config"
)

// newLogger returns a logger that writes to standard error, which is for logs;
// standard output is for results. Lines below a warning may be written a moment later;
// flush writes them.
func newLogger(w io.Writer, c config.Log) (log *slog.Logger, flush func(), err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, nil, fmt.Errorf("log.level: %q is none of debug, info, warn and error", c.Level)
	}
	lines := &lineBuffer{out: w}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewJSONHandler(lines, options)
	if c.Format == "text" {
		handler = slog.NewTextHandler(lines, options)
	}
	return slog.New(flushing{handler, lines}), lines.flush, nil
}

// flushing writes warnings and errors, and what came before them, immediately: they
// may be the last lines of the process.
type flushing struct {
	slog.Handler
	lines *lineBuffer
}

func (h flushing) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.lines.flush()
	}
	return err
}

func (h flushing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return flushing{h.Handler.WithAttrs(attrs), h.lines}
}

func (h flushing) WithGroup(name string) slog.Handler {
	return flushing{h.Handler.WithGroup(name), h.lines}
}

// The lines that a lineBuffer holds back.
const (
	maxLineDelay = 100 * time.Millisecond
	maxLineBytes = 32 << 10
)

// lineBuffer writes many lines with one system call: one for each accepted event would
// take a tenth of the processor time that the event takes. A line that comes alone is
// written immediately.
type lineBuffer struct {
	mu      sync.Mutex
	out     io.Writer
	held    []byte
	written time.Time
	due     *time.Timer // nil while nothing is held
}

func (b *lineBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = append(b.held, line...)
	if b.due != nil && len(b.held) < maxLineBytes {
		return len(line), nil
	}
	if now := time.Now(); b.due == nil && now.Sub(b.written) < maxLineDelay {
		b.due = time.AfterFunc(maxLineDelay, b.flush)
		return len(line), nil
	}
	return len(line), b.write()
}

func (b *lineBuffer) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.write() // slog ignores errors as well
}

// write writes what is held. Called with mu held.
func (b *lineBuffer) write() error {
	if b.due != nil {
		b.due.Stop()
		b.due = nil
	}
	if len(b.held) == 0 {
		return nil
	}
	_, err := b.out.Write(b.held)
	b.held, b.written = b.held[:0], time.Now()
	return err
}
