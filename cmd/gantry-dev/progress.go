package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows on a terminal what the lab is starting, and writes log lines above
// that. Elsewhere it only passes logs on.
type progress struct {
	logs io.Writer
	out  io.Writer // nil without a terminal

	mu   sync.Mutex
	what string
	stop chan struct{}
}

func newProgress(out io.Writer) *progress {
	p := &progress{logs: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.out = out
	}
	return p
}

// Write writes a log line in place of the progress line, which then reappears
// below it.
func (p *progress) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		fmt.Fprint(p.out, eraseLine)
	}
	return p.logs.Write(line)
}

const eraseLine = "\r\033[K"

// start shows what starts now.
func (p *progress) start(what string) {
	if p.out == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
	if p.stop == nil {
		p.stop = make(chan struct{})
		go p.spin(p.stop)
	}
}

// done clears the line.
func (p *progress) done() {
	if p.out == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		close(p.stop)
		p.stop = nil
		fmt.Fprint(p.out, eraseLine)
	}
}

func (p *progress) spin(stop chan struct{}) {
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		if p.stop == stop {
			fmt.Fprintf(p.out, eraseLine+"starting %s … %.1f s", p.what, time.Since(began).Seconds())
		}
		p.mu.Unlock()
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}
