// Package postgres runs a PostgreSQL server of its own for tests, with the
// programs that the operating system's package installed: a new cluster in a
// temporary folder, on loopback, with a password, gone when it is closed.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// User may do everything in the cluster.
const User = "temporal"

// startTimeout limits the wait for a server's first answer.
const startTimeout = 2 * time.Minute

// Cluster is a PostgreSQL server and its data.
type Cluster struct {
	Address      string // host:port, the same after a restart
	Password     string // of User
	PasswordFile string

	dir     string
	bin     string
	port    string
	account *syscall.Credential // the user of the server; nil for this program's user
	server  *server
}

// server is one run of the server.
type server struct {
	process *os.Process
	done    chan struct{}
	err     error // of its end, once done is closed
}

// Start makes a cluster and starts its server. It needs PostgreSQL's programs:
// where Debian puts them or in PATH.
func Start(ctx context.Context) (_ *Cluster, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin, Password: rand.Text()}
	if c.account, err = unprivileged(); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "gantry-postgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(c.dir)
		}
	}()
	c.PasswordFile = filepath.Join(c.dir, "password")
	if err := os.WriteFile(c.PasswordFile, []byte(c.Password+"\n"), 0o600); err != nil {
		return nil, err
	}
	if c.account != nil {
		for _, path := range []string{c.dir, c.PasswordFile} {
			if err := os.Chown(path, int(c.account.Uid), int(c.account.Gid)); err != nil {
				return nil, err
			}
		}
	}
	initdb := c.command("initdb", "--pgdata", c.data(), "--username", User, "--pwfile", c.PasswordFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a PostgreSQL cluster: %w: %s", err, out)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.Address = l.Addr().String()
	_, c.port, _ = net.SplitHostPort(c.Address)
	if err := l.Close(); err != nil {
		return nil, err
	}
	if err := c.Restart(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Kill ends the server as the loss of its machine would: nothing is flushed.
func (c *Cluster) Kill() {
	if c.server == nil {
		return
	}
	// SIGQUIT is PostgreSQL's "immediate shutdown": its children end with it,
	// and the next start recovers from the log. SIGKILL would leave them behind.
	_ = c.server.process.Signal(syscall.SIGQUIT)
	<-c.server.done
	c.server = nil
}

// Restart starts the server again with the same data and waits until it
// answers.
func (c *Cluster) Restart(ctx context.Context) error {
	c.Kill()
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has its own
	// Each Temporal opens up to 81 connections, and four tests run at a time.
	cmd := c.command("postgres", "-D", c.data(), "-p", c.port, "-h", "127.0.0.1", "-k", "", "-c", "max_connections=400")
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT // tests that are killed leave no server
	if c.server, err = run(cmd); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.Exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-c.server.done:
			return fmt.Errorf("PostgreSQL ended: %w: %s", c.server.err, c.Log())
		case <-ctx.Done():
			c.Kill()
			return fmt.Errorf("PostgreSQL does not answer: %w: %s", err, c.Log())
		case <-tick.C:
		}
	}
}

// Close ends the server and removes its data.
func (c *Cluster) Close() error {
	c.Kill()
	return os.RemoveAll(c.dir)
}

// Log returns the server's log so far.
func (c *Cluster) Log() string {
	b, err := os.ReadFile(filepath.Join(c.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Connect opens a connection to a database.
func (c *Cluster) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", User, c.Password, c.Address, database))
}

// Exec runs a statement outside of all databases that tests make.
func (c *Cluster) Exec(ctx context.Context, statement string) error {
	conn, err := c.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, program), args...) //nolint:noctx // it ends by a signal of PostgreSQL's choice
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	if c.account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.account}
	}
	return cmd
}

// run starts a command on a thread that lives as long as it does: Pdeathsig
// counts the death of the thread that started it.
func run(cmd *exec.Cmd) (*server, error) {
	s := &server{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		s.process = cmd.Process
		started <- err
		if err == nil {
			s.err = cmd.Wait()
		}
		close(s.done)
	}()
	return s, <-started
}

// programs finds the folder of initdb and postgres, the newest version if
// there are several.
func programs() (string, error) {
	installed, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	version := func(bin string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
		return n
	}
	if len(installed) > 0 {
		return slices.MaxFunc(installed, func(a, b string) int { return version(a) - version(b) }), nil
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is not installed (apt-get install postgresql, or put its programs in PATH): %w", err)
	}
	return filepath.Dir(initdb), nil
}

// unprivileged returns the account for the server when this program runs as root,
// as which PostgreSQL refuses to run.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nobody else is needed
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(account.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as")
}
