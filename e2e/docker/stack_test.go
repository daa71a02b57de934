package docker

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// slow makes runs take long enough to be killed in the middle of.
var slow = simulator.Phases{
	spacelift.RunStatePlanning: 5 * time.Second, spacelift.RunStateApplying: 5 * time.Second,
}

// From `make up` to a finished run, then every container is killed in turn in
// the middle of runs. In the end nothing that was accepted is lost, and no plan
// was confirmed twice.
func TestContainersAreKilled(t *testing.T) {
	s := newStack(t, []string{"gantry", "temporal", "simulator"})
	s.isFenced()
	runs := s.killInTurn("gantry", "temporal", "simulator")
	s.account(runs)

	// The volumes outlive the containers.
	s.command("../../docker/stack", "down", "-t", "10")
	s.up()
	s.account(runs)
}

// The same with Temporal's data in PostgreSQL: Debian's, in an image of this
// test's own.
func TestPostgresIsKilled(t *testing.T) {
	const image = "gantry-check-postgres:local"
	out, err := exec.CommandContext(t.Context(), "./postgres-image", image).CombinedOutput()
	if err != nil {
		t.Fatalf("make an image of PostgreSQL: %v\n%s", err, out)
	}
	s := newStack(t, []string{"gantry", "temporal", "simulator", "db"}, "TEMPORAL=postgres", "POSTGRES_IMAGE="+image)
	s.account(s.killInTurn("db", "temporal"))
}

// killInTurn plays runs, then kills one service after the other while runs plan
// and while they apply, and returns all runs.
func (s *stack) killInTurn(victims ...string) []spacelift.RunRef {
	s.t.Helper()
	stacks := s.addStacks(6)
	all := s.push(stacks, nil)
	s.done(all)
	for _, victim := range victims {
		for _, moment := range []spacelift.RunState{spacelift.RunStatePlanning, spacelift.RunStateApplying} {
			s.t.Logf("%s is killed while runs are %s", victim, moment)
			if moment == spacelift.RunStateApplying && victim != "simulator" {
				s.loseConfirmations(len(stacks))
			}
			runs := s.push(stacks, slow)
			s.inSpacelift(runs, moment)
			if victim == "simulator" {
				s.saved(runs, moment)
			}
			s.kill(victim)
			s.while(victim, runs, moment)
			s.start(victim)
			s.inSpacelift(runs, spacelift.RunStateFinished)
			s.done(runs)
			all = append(all, runs...)
		}
	}
	return all
}

// loseConfirmations makes the next confirmations take effect, but answers them so
// late that the caller is killed first: it must not send them again.
func (s *stack) loseConfirmations(n int) {
	s.t.Helper()
	s.must(s.control(s.t.Context(), http.MethodPost, "/faults/api", simulator.APIFault{
		Kind: simulator.LostResponse, Field: "runConfirm", Times: n, Delay: simulator.Duration(10 * time.Second),
	}, nil))
}

// while is the activity that continues without a container.
func (s *stack) while(service string, runs []spacelift.RunRef, moment spacelift.RunState) {
	s.t.Helper()
	switch {
	case service == "simulator":
		s.eventually("Spacelift is away", func(ctx context.Context) error {
			if s.control(ctx, http.MethodGet, "/clock", nil, nil) == nil {
				return errors.New("it answers")
			}
			return nil
		})
		return
	case moment == spacelift.RunStateApplying:
		s.inSpacelift(runs, spacelift.RunStateFinished)
	default: // nobody can decide to confirm
		s.inSpacelift(runs, spacelift.RunStateUnconfirmed)
	}
	if service == "temporal" {
		s.eventually("Gantry takes events and keeps them", func(ctx context.Context) error {
			r, err := s.client.GetReadinessWithResponse(ctx)
			if err == nil && (r.JSON200 == nil || r.JSON200.Status != api.ReadinessStatusDegraded || r.JSON200.Inbox.Pending == 0) {
				err = fmt.Errorf("%s %s", r.Status(), r.Body)
			}
			return err
		})
	}
}

// saved waits until the simulator's file has the runs in a state: a kill loses
// what is younger, and a Spacelift that forgets is not what this is about.
func (s *stack) saved(runs []spacelift.RunRef, state spacelift.RunState) {
	s.t.Helper()
	s.eventually("the simulator has saved its runs", func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "docker", "cp", s.ids["simulator"]+":/var/lib/gantry-dev/spacelift.json", "-").Output()
		if err != nil {
			return err
		}
		archive := tar.NewReader(strings.NewReader(string(out)))
		if _, err := archive.Next(); err != nil {
			return err
		}
		var account struct {
			Stacks []struct {
				Runs []struct {
					ID      spacelift.RunID
					History []struct{ State spacelift.RunState }
				}
			}
		}
		if err := json.NewDecoder(archive).Decode(&account); err != nil {
			return err
		}
		found := 0
		for _, st := range account.Stacks {
			for _, r := range st.Runs {
				mine := slices.ContainsFunc(runs, func(ref spacelift.RunRef) bool { return ref.Run == r.ID })
				if mine && len(r.History) > 0 && r.History[len(r.History)-1].State == state {
					found++
				}
			}
		}
		if found != len(runs) {
			return fmt.Errorf("%d of %d", found, len(runs))
		}
		return nil
	})
}

// account compares Spacelift's own record with Gantry's: every notification that
// was answered `accepted` is in its run once, and every run's plan was confirmed
// once.
func (s *stack) account(runs []spacelift.RunRef) {
	s.t.Helper()
	var sent struct{ Deliveries []simulator.Delivery }
	s.must(s.control(s.t.Context(), http.MethodGet, "/deliveries?webhook=gantry&outcome=delivered", nil, &sent))
	known, accepted := map[spacelift.RunRef]api.Run{}, 0
	for _, d := range sent.Deliveries {
		var receipt api.Receipt
		if err := json.Unmarshal([]byte(d.Attempts[len(d.Attempts)-1].Response), &receipt); err != nil || receipt.Outcome != api.OutcomeAccepted {
			continue
		}
		accepted++
		run, ok := known[d.Run]
		if !ok {
			var err error
			run, err = s.run(s.t.Context(), d.Run)
			s.must(err)
			known[d.Run] = run
		}
		count := 0
		for _, have := range run.States {
			if have.State == string(d.State) && have.StateVersion == d.Version {
				count++
			}
		}
		if count != 1 {
			s.t.Errorf("%s %d of run %s was accepted and is there %d times", d.State, d.Version, d.Run, count)
		}
	}
	if accepted < 5*len(runs) {
		s.t.Errorf("only %d notifications of %d runs were accepted", accepted, len(runs))
	}

	var asked struct{ Requests []simulator.Request }
	s.must(s.control(s.t.Context(), http.MethodGet, "/requests?field=runConfirm", nil, &asked))
	confirmed := map[string]int{}
	for _, r := range asked.Requests {
		if r.Executed && len(r.Errors) == 0 {
			confirmed[fmt.Sprint(r.Arguments["run"])]++
		}
	}
	for _, r := range runs {
		if n := confirmed[string(r.Run)]; n != 1 {
			s.t.Errorf("run %s was confirmed %d times", r, n)
		}
	}
	s.t.Logf("%d runs confirmed once, %d accepted notifications found once", len(runs), accepted)
}

// isFenced makes sure that nothing is reached from outside this machine, and
// that nobody is root.
func (s *stack) isFenced() {
	s.t.Helper()
	for _, service := range s.services {
		var containers []struct {
			Config          struct{ User string }
			HostConfig      struct{ ReadonlyRootfs bool }
			State           struct{ Health struct{ Status string } }
			NetworkSettings struct {
				Ports map[string][]struct{ HostIp string }
			}
		}
		s.must(json.Unmarshal([]byte(s.command("docker", "inspect", s.ids[service])), &containers))
		c := containers[0]
		if c.Config.User != "65532:65532" || !c.HostConfig.ReadonlyRootfs {
			s.t.Errorf("%s runs as %q, its root can be written: %t", service, c.Config.User, !c.HostConfig.ReadonlyRootfs)
		}
		published := 0
		for port, bindings := range c.NetworkSettings.Ports {
			for _, b := range bindings {
				if published++; b.HostIp != "127.0.0.1" {
					s.t.Errorf("port %s of %s is on %s", port, service, b.HostIp)
				}
			}
		}
		if published == 0 {
			s.t.Errorf("%s publishes no port", service)
		}
	}
}
