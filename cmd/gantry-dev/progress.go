package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows on a terminal what the lab is waiting for while it starts.
// Elsewhere it says nothing: logs have their own lines.
type progress struct {
	out io.Writer // nil when there is no terminal

	mu   sync.Mutex
	what string
	stop chan struct{}
}

func newProgress(out io.Writer) *progress {
	p := &progress{}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.out = out
	}
	return p
}

// start says what is being waited for now.
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
		fmt.Fprint(p.out, "\r\033[K")
	}
}

func (p *progress) spin(stop chan struct{}) {
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		if p.stop == stop {
			fmt.Fprintf(p.out, "\r\033[Kstarting %s … %.1f s", p.what, time.Since(began).Seconds())
		}
		p.mu.Unlock()
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}
