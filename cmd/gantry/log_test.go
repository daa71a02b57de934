package main

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/config"
)

// countingOutput counts the calls of Write.
type countingOutput struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
}

func (o *countingOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes++
	return o.text.Write(p)
}

// written returns what was written so far, and with how many calls.
func (o *countingOutput) written() (text string, writes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.writes
}

func TestLogWritesManyLinesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out countingOutput
		log, flush, err := newLogger(&out, config.Log{Level: "info", Format: "text"})
		if err != nil {
			t.Fatal(err)
		}
		expect := func(when string, lines, writes int) {
			t.Helper()
			text, n := out.written()
			if got := strings.Count(text, "\n"); got != lines || n != writes {
				t.Errorf("%s: %d lines in %d writes, want %d in %d", when, got, n, lines, writes)
			}
		}
		log.Info("a line alone")
		expect("a line that comes alone", 1, 1)
		for range 99 {
			log.Info("one of many")
		}
		expect("many lines within a moment", 1, 1)
		<-time.After(maxLineDelay)
		synctest.Wait()
		expect("a moment later", 100, 2)

		log.Info("before the warning")
		log.With("run", "r").WithGroup("g").Warn("a warning")
		expect("a warning", 102, 3)
		log.Info("the last line")
		flush()
		expect("the end", 103, 4)
		if text, _ := out.written(); !strings.HasSuffix(text, "msg=\"the last line\"\n") {
			t.Errorf("the last line is not the last: %q", text)
		}
	})
}

// A flood takes no more memory than maxLineBytes, however fast it is.
func TestLogBoundsWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out countingOutput
		log, _, err := newLogger(&out, config.Log{Level: "info", Format: "json"})
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Repeat("x", 1000)
		for range 100 {
			log.Info(line)
		}
		if text, _ := out.written(); 100*1000-len(text) > maxLineBytes {
			t.Errorf("%d bytes of 100 lines are written", len(text))
		}
	})
}

func BenchmarkLog(b *testing.B) {
	log, _, err := newLogger(io.Discard, config.Log{Level: "info", Format: "json"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "notification", slog.String("delivery", "01KDX4A7B3C5D7E9F1G3H5J7K9"), slog.Int("size", 1024))
	}
}
