package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/gantryhq/gantry/e2e/postgres"
)

// binary is docker/temporal's program.
var binary string

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "gantry-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "temporal-server")
		if out, err := exec.Command("go", "build", "-o", binary, "../../docker/temporal").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build docker/temporal: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func newCluster(t *testing.T) *postgres.Cluster {
	t.Helper()
	c, err := postgres.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("PostgreSQL said:\n%s", c.Log())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// server is a process of the program.
type server struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string
	out     *output
	done    chan struct{}
	err     error // of Wait, once done is closed
}

// serve starts a server on the cluster. Later flags win over those it gives.
func serve(t *testing.T, c *postgres.Cluster, flags ...string) *server {
	t.Helper()
	s := &server{t: t, address: freeAddress(t), out: new(output), done: make(chan struct{})}
	s.cmd = exec.Command(binary, append([]string{
		"serve", "--listen", s.address, "--ui", "", "--store", "postgres",
		"--postgres-address", c.Address, "--postgres-user", postgres.User, "--postgres-password-file", c.PasswordFile,
	}, flags...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("temporal-server said:\n%s", s.out)
		}
	})
	return s
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// terminate asks the server to stop, and waits until it has.
func (s *server) terminate() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.wantEnd(nil)
}

// wantEnd waits until the server ends by itself: in order, or with exit code 1
// having said these things.
func (s *server) wantEnd(says []string) {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Fatalf("still running after %s:\n%s", patience, s.out)
	}
	if says == nil && s.err != nil {
		s.t.Errorf("ended with %v", s.err)
	}
	if says != nil && s.cmd.ProcessState.ExitCode() != 1 {
		s.t.Errorf("ended with %v, want exit code 1", s.err)
	}
	for _, want := range says {
		if !strings.Contains(s.out.String(), want) {
			s.t.Errorf("did not say %q:\n%s", want, s.out)
		}
	}
}

// ready waits until the program's own check finds the server healthy.
func (s *server) ready() {
	s.t.Helper()
	eventually(s.t, "the server is healthy", func(ctx context.Context) error {
		select {
		case <-s.done:
			s.t.Fatalf("it ended: %v\n%s", s.err, s.out)
		default:
		}
		return health(ctx, s.address)
	})
}

func health(ctx context.Context, address string) error {
	out, err := exec.CommandContext(ctx, binary, "health", "--address", address).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (s *server) client() client.Client {
	s.t.Helper()
	c, err := client.DialContext(s.t.Context(), client.Options{HostPort: s.address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// eventually polls until ok returns nil.
func eventually(t *testing.T, what string, ok func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		case <-tick.C:
		}
	}
}

// says waits until the server has said something.
func (s *server) says(what string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("it says %q", what), func(context.Context) error {
		if !strings.Contains(s.out.String(), what) {
			return errors.New(s.out.String())
		}
		return nil
	})
}

var ports atomic.Int32

// freeAddress is outside of the range that Temporal's own services take theirs
// from, and never the same.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 18_000+ports.Add(1))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
}

// output keeps what a program prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
