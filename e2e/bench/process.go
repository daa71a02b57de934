package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// program is a server under measurement, in a process of its own.
type program struct {
	cmd     *exec.Cmd
	address string
	ops     string   // Gantry's operations listener
	log     *os.File // its standard error, as a supervisor keeps it
}

// startProgram starts a server and waits until it answers on ready.
func startProgram(ctx context.Context, ready string, env []string, name string, args ...string) (*program, error) {
	p, err := runProgram(ctx, env, name, args...)
	if err != nil {
		return nil, err
	}
	return p, p.until(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, ready, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return res.Body.Close()
	})
}

func runProgram(ctx context.Context, env []string, name string, args ...string) (*program, error) {
	log, err := os.CreateTemp("", "gantry-bench-*.log")
	if err != nil {
		return nil, err
	}
	p := &program{cmd: exec.CommandContext(ctx, name, args...), log: log}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = log
	return p, p.cmd.Start()
}

// said returns the beginning of the program's log.
func (p *program) said() string {
	b := make([]byte, 4096)
	n, _ := p.log.ReadAt(b, 0) // io.EOF if there is less
	return string(b[:n])
}

func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait() // its error is that of the signal
	_ = p.log.Close()
	_ = os.Remove(p.log.Name())
}

// resident is a process's resident memory in megabytes: its own, that of files, which are
// the pages of its program, and the most that there were.
type resident struct{ all, own, files, peak float64 }

func (r resident) String() string {
	return fmt.Sprintf("%.0f MB resident (%.0f its own, %.0f of the program's file; at most %.0f)", r.all, r.own, r.files, r.peak)
}

// resident returns the process's resident memory now.
func (p *program) resident() (r resident, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return r, err
	}
	for name, into := range map[string]*float64{"VmRSS": &r.all, "RssAnon": &r.own, "RssFile": &r.files, "VmHWM": &r.peak} {
		m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(status)
		if m == nil {
			return r, errors.New("no " + name)
		}
		kb, err := strconv.Atoi(string(m[1]))
		if err != nil {
			return r, err
		}
		*into = float64(kb) / 1024
	}
	return r, nil
}

// ticksPerSecond is the kernel's unit of processor time; it is 100 wherever Go
// runs on Linux.
const ticksPerSecond = 100

// processorTime returns the process's processor time.
func (p *program) processorTime() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := bytes.Cut(stat, []byte(") ")) // behind the program's name
	fields := bytes.Fields(after)
	if len(fields) < 13 {
		return 0, errors.New("unreadable stat of a process")
	}
	total := 0
	for _, f := range fields[11:13] { // in user mode, in the kernel
		n, err := strconv.Atoi(string(f))
		if err != nil {
			return 0, err
		}
		total += n
	}
	return time.Duration(total) * time.Second / ticksPerSecond, nil
}

// rest waits until the program uses less than a fiftieth of a processor, for a minute
// at most.
func (p *program) rest(ctx context.Context) error {
	return p.restFor(ctx, 250*time.Millisecond, time.Minute)
}

// restFor waits until the program uses less than a fiftieth of a processor for a span. It
// begins no span after a time.
func (p *program) restFor(ctx context.Context, span, most time.Duration) error {
	for deadline := time.Now().Add(most); time.Now().Before(deadline); {
		before, err := p.processorTime()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(span):
		}
		after, err := p.processorTime()
		if err != nil || after-before < span/50 {
			return err
		}
	}
	return nil
}

// startGantry starts the product with its inbox in dir, and more arguments.
func (b *bench) startGantry(ctx context.Context, dir, temporal, spaceliftURL string, more ...string) (*program, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	ops, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	p, err := startProgram(ctx, "http://"+address+"/healthz", []string{
		"GANTRY_ACCOUNT=acme", "GANTRY_WEBHOOK_SECRET=" + webhookSecret,
		"SPACELIFT_API_KEY_ENDPOINT=" + spaceliftURL, "SPACELIFT_API_KEY_ID=" + keyID, "SPACELIFT_API_KEY_SECRET=" + keySecret,
		"TEMPORAL_ADDRESS=" + temporal,
	}, b.gantry, append([]string{"serve", "--listen", address, "--ops-listen", ops, "--data", filepath.Join(dir, "inbox")}, more...)...)
	if err != nil {
		return nil, err
	}
	p.address, p.ops = address, ops
	return p, nil
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // only its address was wanted
	return l.Addr().String(), nil
}

// folderBytes returns the size of a folder on disk.
func folderBytes(dir string) (total int64, err error) {
	err = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok && !info.IsDir() {
			total += s.Blocks * 512
		}
		return nil
	})
	return total, err
}
