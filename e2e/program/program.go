// Package program runs the programs under test, on ports of their own, and waits
// for their results.
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
	Out *Output // its output so far

	t    *testing.T
	done chan struct{}
	err  error // of Cmd.Wait; valid once done is closed
}

// Start starts a program and kills it when the test ends. If the test failed, it
// logs the program's output.
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
			t.Logf("%s printed:\n%s", p.name(), p.Out)
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

// LivesFor waits for some time, and ends the test if the program ends within it.
func (p *Process) LivesFor(d time.Duration) {
	p.t.Helper()
	select {
	case <-time.After(d):
	case <-p.done:
	}
	p.Lives()
}

// Ends waits until the program ends, and returns the error of exec.Cmd.Wait.
func (p *Process) Ends(within time.Duration) error {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("%s is still running after %s:\n%s", p.name(), within, p.Out)
	}
	return p.err
}

// AskToStop sends the program a signal, on which it should end without an error,
// and returns how long that took.
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

// Eventually polls until ok returns nil. It is for state in another process, which
// can't notify us.
func Eventually(t *testing.T, within time.Duration, what string, ok func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error // not of the attempt that the end of the time cut short
	for {
		err := ok(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, within, last)
		case <-tick.C:
		}
	}
}

// Output is a program's output, readable while the program writes.
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

// Ports come from below the range of outgoing connections, in which the kernel
// could reuse one, and below the ports of Temporal's services.
const (
	firstPort = 10_000
	portCount = 8_000
)

var ports atomic.Int32 // how many were tried

func init() { ports.Store(rand.Int32N(portCount)) } // tests of other packages run at the same time

// FreePort returns a free port of this machine, a different one each time.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := Port(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Port is FreePort outside of tests.
func Port(ctx context.Context) (int, error) {
	for range portCount {
		port := firstPort + int(ports.Add(1)%portCount)
		if l, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port, nil
		}
	}
	return 0, fmt.Errorf("no port is free from %d on", firstPort)
}
