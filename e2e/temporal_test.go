package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/e2e/postgres"
	"github.com/gantryhq/gantry/e2e/program"
	"github.com/gantryhq/gantry/temporalserver"
)

// temporalVariable selects the Temporal of the tests: empty is the embedded one,
// "sqlite" and "postgres" are docker/temporal's program.
const temporalVariable = "GANTRY_E2E_TEMPORAL"

var (
	temporalBinary string            // of the program, unless Temporal is embedded
	cluster        *postgres.Cluster // its database, if that is what it uses
	databases      atomic.Int64      // numbers those of the stories
)

// temporalServer is the Temporal of one world.
type temporalServer interface {
	HostPort() string

	// Stop ends the embedded server in order and kills the program, so that tests
	// cover both ways in which Temporal goes down.
	Stop()
}

// startTemporal starts Temporal, again on the same port and with the same data
// if it ran before.
func (w *world) startTemporal() {
	w.t.Helper()
	if temporalBinary != "" {
		w.startTemporalProgram()
		return
	}
	o := temporalserver.Options{SearchAttributes: temporalserver.Keywords(managed.SearchAttributes()...), DataDir: filepath.Join(w.dir, "temporal")}
	if w.temporal != nil {
		o.FrontendPort = mustPort(w.t, "tcp://"+w.temporal.HostPort())
	}
	var err error
	w.temporal, err = temporalserver.Start(w.t.Context(), o)
	w.must(err)
}

// temporalProgram is a process of docker/temporal.
type temporalProgram struct {
	*process
	address string
	store   []string // flags
}

func (p *temporalProgram) HostPort() string { return p.address }
func (p *temporalProgram) Stop()            { p.Kill() }

func (w *world) startTemporalProgram() {
	w.t.Helper()
	p := &temporalProgram{}
	if before, ok := w.temporal.(*temporalProgram); ok {
		p.address, p.store = before.address, before.store
	} else {
		p.address, p.store = fmt.Sprintf("127.0.0.1:%d", program.FreePort(w.t)), w.newStore()
	}
	p.process = start(w.t, temporalBinary, nil, append([]string{"serve", "--listen", p.address, "--ui", ""}, p.store...)...)
	w.temporal = p
	w.eventually("Temporal is ready", func(ctx context.Context) error {
		p.Lives()
		out, err := exec.CommandContext(ctx, temporalBinary, "health", "--address", p.address).CombinedOutput()
		if err != nil {
			return errors.New(strings.TrimSpace(string(out)))
		}
		return nil
	})
}

// newStore returns the flags of a store that has nothing in it.
func (w *world) newStore() []string {
	if cluster == nil {
		return []string{"--store", "sqlite", "--data", filepath.Join(w.dir, "temporal")}
	}
	name := fmt.Sprintf("world_%d", databases.Add(1))
	visibility := name + "_visibility"
	w.t.Cleanup(func() {
		for _, database := range []string{name, visibility} {
			if err := cluster.Exec(context.Background(), "DROP DATABASE IF EXISTS "+database+" WITH (FORCE)"); err != nil {
				w.t.Error(err)
			}
		}
	})
	return []string{
		"--store", "postgres", "--postgres-address", cluster.Address,
		"--postgres-user", postgres.User, "--postgres-password-file", cluster.PasswordFile,
		"--postgres-database", name, "--postgres-visibility-database", visibility,
	}
}
