package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// Process is a program that can be killed, stopped, paused and started again. It
// restarts automatically if it ends unasked, as under a supervisor.
type Process struct {
	Name string

	command func() *exec.Cmd
	ready   func(context.Context) error
	history *history.Writer
	log     string // file that has its output

	turn sync.Mutex // one thing is done to a process at a time

	mu     sync.Mutex // guards what follows
	cmd    *exec.Cmd
	done   chan struct{} // closed when cmd has ended
	asked  bool          // somebody made it end
	paused bool
	spent  time.Duration // processor time of those that have ended
}

func (p *Process) event(event string, err error) {
	e := &history.Process{Name: p.Name, Event: event, PID: p.pid()}
	if err != nil {
		e.Error = err.Error()
	}
	p.history.Add(history.Record{Process: e})
}

func (p *Process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Start starts the program and waits until it is ready. If it runs already,
// nothing happens.
func (p *Process) Start(ctx context.Context) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.start(ctx)
}

// start starts the program, and again if it ends before it is ready.
func (p *Process) start(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for !p.running() {
		done, err := p.launch(ctx)
		if err != nil {
			return err
		}
		if err := p.untilReady(limited, done); !errors.Is(err, errEnded) || limited.Err() != nil {
			return err
		}
		wait(limited, 100*time.Millisecond)
	}
	return nil
}

// launch starts the program. The channel is closed when it has ended.
func (p *Process) launch(ctx context.Context) (done chan struct{}, err error) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer log.Close() //nolint:errcheck // the program has a descriptor of its own
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	done = make(chan struct{})
	p.mu.Lock()
	p.cmd, p.done, p.asked, p.paused = cmd, done, false, false
	p.mu.Unlock()
	p.event(history.Started, nil)
	go p.watch(ctx, cmd, done)
	return done, nil
}

// watch waits for the end of the program, and starts it again if nobody asked
// for its end.
func (p *Process) watch(ctx context.Context, cmd *exec.Cmd, done chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	asked := p.asked
	p.spent += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	p.mu.Unlock()
	if asked {
		close(done)
		return
	}
	if err == nil {
		err = errors.New("it ended unasked")
	}
	p.event(history.Ended, err)
	close(done)
	if ctx.Err() == nil {
		p.turn.Lock()
		defer p.turn.Unlock()
		_ = p.start(ctx) // the history shows whether it became ready
	}
}

func (p *Process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// errEnded reports that the program ended before it was ready.
var errEnded = errors.New("it ended before it was ready")

func (p *Process) untilReady(ctx context.Context, done <-chan struct{}) error {
	for {
		err := p.ready(ctx)
		if err == nil {
			p.event(history.Ready, nil)
			return nil
		}
		select {
		case <-done:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("start %s: it isn't ready within %s: %w; read %s", p.Name, startTime, err, p.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// startTime limits the time that a program may take to become ready.
const startTime = 90 * time.Second

// Kill ends the program as a crash would.
func (p *Process) Kill() {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.end(syscall.SIGKILL, history.Killed)
}

// Stop asks the program to stop, and kills it if it takes longer than a grace
// period of ten seconds.
func (p *Process) Stop() {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.end(syscall.SIGTERM, history.Asked)
}

func (p *Process) end(signal syscall.Signal, event string) {
	if !p.running() {
		return
	}
	p.mu.Lock()
	p.asked = true
	cmd, done, paused := p.cmd, p.done, p.paused
	p.mu.Unlock()
	p.event(event, nil)
	if paused && signal != syscall.SIGKILL {
		_ = cmd.Process.Signal(syscall.SIGCONT)
	}
	_ = cmd.Process.Signal(signal) // it may have ended meanwhile
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		p.event(history.Killed, errors.New("it didn't stop within 10s"))
		_ = cmd.Process.Kill()
		<-done
	}
	if signal == syscall.SIGTERM {
		var err error
		if state := cmd.ProcessState; !state.Success() {
			err = errors.New(state.String())
		}
		p.event(history.Ended, err)
	}
}

// Pause suspends the program until Continue: to others it seems to hang.
func (p *Process) Pause() { p.signal(syscall.SIGSTOP, true, history.Paused) }

// Continue resumes a paused program.
func (p *Process) Continue() { p.signal(syscall.SIGCONT, false, history.Continued) }

// Hangup makes a program that runs read its configuration again.
func (p *Process) Hangup() {
	if p.running() {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = p.cmd.Process.Signal(syscall.SIGHUP) // one that has ended reads it at its start
	}
}

func (p *Process) signal(s syscall.Signal, pausing bool, event string) {
	if !p.running() {
		return
	}
	p.mu.Lock()
	changes := p.paused != pausing
	p.paused = pausing
	_ = p.cmd.Process.Signal(s)
	p.mu.Unlock()
	if changes {
		p.event(event, nil)
	}
}

// Stutter suspends the program for 9 of each 10 intervals until ctx ends.
func (p *Process) Stutter(ctx context.Context, interval time.Duration) {
	for ctx.Err() == nil {
		p.mu.Lock()
		cmd := p.cmd
		p.mu.Unlock()
		_ = cmd.Process.Signal(syscall.SIGSTOP)
		wait(ctx, 9*interval)
		_ = cmd.Process.Signal(syscall.SIGCONT)
		wait(ctx, interval)
	}
}

// FillDisk keeps the program from growing any file beyond so many bytes, as a full
// disk would; a negative number lifts that.
func (p *Process) FillDisk(bytes int64) error {
	limit := unix.Rlimit{Cur: uint64(bytes), Max: unix.RLIM_INFINITY}
	if bytes < 0 {
		limit.Cur = unix.RLIM_INFINITY
	}
	if err := unix.Prlimit(p.pid(), unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		return fmt.Errorf("limit the files of %s: %w", p.Name, err)
	}
	return nil
}

// Spent returns the processor time that the program has used, with those of it that
// have ended.
func (p *Process) Spent() time.Duration {
	p.mu.Lock()
	spent := p.spent
	p.mu.Unlock()
	if p.running() {
		spent += processorTime(p.pid())
	}
	return spent
}

// processorTime returns the processor time that a running process has used; 0 if it
// has ended. proc_pid_stat(5) describes the fields.
func processorTime(pid int) (spent time.Duration) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name of the program may contain anything
	for i, field := range strings.Fields(after) {
		if ticks, err := strconv.ParseInt(field, 10, 64); err == nil && (i == userTime || i == systemTime) {
			spent += time.Duration(ticks) * time.Second / ticksPerSecond
		}
	}
	return spent
}

// The positions of processor times among the fields after a program's name, and their
// unit: Linux counts 100 ticks a second for programs on every machine.
const (
	userTime       = 11
	systemTime     = 12
	ticksPerSecond = 100
)

// recordUsage records the memory and the processor time that the program uses.
func (p *Process) recordUsage() {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid()))
	if err != nil {
		return // it has ended
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			if kilobytes, err := strconv.Atoi(fields[1]); err == nil {
				p.history.Add(history.Record{Usage: &history.Usage{Name: p.Name, RSS: kilobytes << 10, Spent: p.Spent()}})
			}
		}
	}
}

// wait blocks for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
