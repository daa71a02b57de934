package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/gantryhq/gantry/e2e/postgres"
	"github.com/gantryhq/gantry/e2e/program"
)

// binary is docker/temporal's program.
var binary string

// patience limits the wait for an expected event.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	var err error
	if binary, err = program.Build("docker/temporal"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
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
	*program.Process
	t       *testing.T
	address string
}

// serve starts a server on the cluster. Later flags win over those it gives.
func serve(t *testing.T, c *postgres.Cluster, flags ...string) *server {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", program.FreePort(t))
	return &server{t: t, address: address, Process: program.Start(t, exec.Command(binary, append([]string{
		"serve", "--listen", address, "--ui", "", "--store", "postgres",
		"--postgres-address", c.Address, "--postgres-user", postgres.User, "--postgres-password-file", c.PasswordFile,
	}, flags...)...))}
}

// terminate asks the server to stop, and waits until it has.
func (s *server) terminate() {
	s.t.Helper()
	s.AskToStop(syscall.SIGTERM, patience)
}

// refuses waits until the server ends with exit code 1 and has printed these texts.
func (s *server) refuses(says []string) {
	s.t.Helper()
	if err := s.Ends(patience); s.Cmd.ProcessState.ExitCode() != 1 {
		s.t.Errorf("ended with %v, want exit code 1", err)
	}
	for _, want := range says {
		if !strings.Contains(s.Out.String(), want) {
			s.t.Errorf("did not say %q:\n%s", want, s.Out)
		}
	}
}

// ready waits until the program's own check finds the server healthy.
func (s *server) ready() {
	s.t.Helper()
	eventually(s.t, "the server is healthy", func(ctx context.Context) error {
		s.Lives()
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

// eventually waits until ok returns nil, as long as patience lasts.
func eventually(t *testing.T, what string, ok func(context.Context) error) {
	t.Helper()
	program.Eventually(t, patience, what, ok)
}

// says waits until the server has said something.
func (s *server) says(what string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("it says %q", what), func(context.Context) error {
		if !strings.Contains(s.Out.String(), what) {
			return errors.New(s.Out.String())
		}
		return nil
	})
}
