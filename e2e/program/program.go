// Package program runs the programs that the stories are about, on ports of their
// own, and waits for what they do.
package program

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Process is a running program.
type Process struct {
	Cmd *exec.Cmd
	Out *Output // what it has printed so far

	t    *testing.T
	done chan struct{}
	err  error // of Cmd.Wait, once done is closed
}

// Start starts a program, which is killed when the test ends. When the test
// failed, what the program printed is logged.
func Start(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, Out: &Output{}, t: t, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.Out, p.Out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name(), p.Out)
		}
	})
	return p
}

func (p *Process) name() string { return filepath.Base(p.Cmd.Path) }

// Kill ends the process as a crash would.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.done
}

// Lives ends the test if the program has ended.
func (p *Process) Lives() {
	p.t.Helper()
	select {
	case <-p.done:
		p.t.Fatalf("%s ended: %v\n%s", p.name(), p.err, p.Out)
	default:
	}
}

// LivesFor ends the test if the program ends within some time, and returns once
// that is over.
func (p *Process) LivesFor(d time.Duration) {
	p.t.Helper()
	select {
	case <-time.After(d):
	case <-p.done:
	}
	p.Lives()
}

// Ends waits until the program ends by itself, and returns what exec.Cmd.Wait
// says of it.
func (p *Process) Ends(within time.Duration) error {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("%s is still running after %s:\n%s", p.name(), within, p.Out)
	}
	return p.err
}

// AskToStop sends the program a signal upon which it is to end in order, and
// returns how long that took.
func (p *Process) AskToStop(signal os.Signal, within time.Duration) time.Duration {
	p.t.Helper()
	began := time.Now()
	if err := p.Cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	if err := p.Ends(within); err != nil {
		p.t.Errorf("%s ended with %v:\n%s", p.name(), err, p.Out)
	}
	return time.Since(began)
}

// Eventually polls until ok returns nil. It polls what is in another process,
// which has no way to tell us.
func Eventually(t *testing.T, within time.Duration, what string, ok func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, within, err)
		case <-tick.C:
		}
	}
}

// Output keeps what a program prints, while it prints.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Ports are free below those that systems take outgoing connections from, as
// the kernel would give one of those away again, and below those that Temporal's
// services take.
const (
	firstPort = 10_000
	portCount = 8_000
)

var ports atomic.Int32 // how many were looked at

func init() { ports.Store(rand.Int32N(portCount)) } // the tests of other packages look as well

// FreePort returns a port of this machine that nobody listens on, each time
// another one.
func FreePort(t testing.TB) int {
	t.Helper()
	for range portCount {
		port := firstPort + int(ports.Add(1)%portCount)
		if l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatalf("no port is free from %d on", firstPort)
	return 0
}
