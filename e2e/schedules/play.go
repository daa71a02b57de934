package schedules

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// play plays the script of a schedule.
func (b *Batch) play(ctx context.Context, number int, s history.Script) {
	at := b.begin.Add(script.Begin(b.options.Seed, number, b.options.Storm))
	if !sleep(ctx, time.Until(at)) {
		return
	}
	b.History.Add(history.Record{Schedule: number, Script: &s})
	for _, st := range s.Stacks {
		if err := b.addStack(st); err != nil {
			b.History.Add(history.Record{Schedule: number, Step: &history.Step{Index: -1, Do: "add-stack", Stack: st.ID, Error: err.Error()}})
		}
	}
	for i := 0; i < len(s.Steps); {
		if !b.await(ctx, s.Steps[i]) {
			return
		}
		first := i
		for i++; i < len(s.Steps) && s.Steps[i].With; i++ {
		}
		var together sync.WaitGroup
		for j := first; j < i; j++ {
			together.Go(func() { b.take(ctx, number, j, s.Steps[j]) })
		}
		together.Wait()
	}
}

func (b *Batch) addStack(st history.ScriptStack) error {
	added := simulator.Stack{
		ID: spacelift.StackID(st.ID), Space: st.Space, Labels: st.Labels, Autodeploy: st.Autodeploy, Approvals: st.Approvals, Module: st.Module,
		Plan: simulator.Plan{Delta: spacelift.Delta{Added: 1}},
	}
	if st.WorkerPool {
		added.WorkerPool = "private"
		added.Drift = simulator.DriftDetection{Schedule: []string{"0 4 * * *"}, Reconcile: true, IgnoreState: true}
	}
	var err error
	if script.HasGlass(st.Space) {
		err = b.Spacelift.Glaze(st.Space)
	}
	err = errors.Join(err, b.Spacelift.AddStack(added))
	for _, on := range st.DependsOn {
		err = errors.Join(err, b.Spacelift.AddDependency(added.ID, spacelift.StackID(on)))
	}
	return err
}

// The longest waits of steps for what they wait for, in the storm and after it.
const (
	patience     = 12 * time.Second
	calmPatience = 2 * time.Second
)

// await waits until a step may be taken. It reports false if ctx ended.
func (b *Batch) await(ctx context.Context, s history.ScriptStep) bool {
	if !sleep(ctx, s.After) {
		return false
	}
	if s.Until == "" {
		return true
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	over := time.After(patience)
	calm := b.calm
	news := &news{}
	for !b.holds(ctx, s, news) {
		select {
		case <-ctx.Done():
			return false
		case <-over:
			return true
		case <-calm:
			calm, over = nil, time.After(calmPatience)
		case <-tick.C:
		}
	}
	return true
}

// news says when it is worth asking Gantry about a run again: once Gantry has read it,
// and now and then.
type news struct {
	shown int
	asked time.Time
}

// Gantry is asked about a run at most so often, and at least so often.
const (
	soonAgain  = 4 * poll
	againSince = 2 * time.Second
)

func (n *news) come(shown int) bool {
	since := time.Since(n.asked)
	if since < soonAgain || shown == n.shown && since < againSince {
		return false
	}
	n.shown, n.asked = shown, time.Now()
	return true
}

// holds reports whether what a step waits for is so.
func (b *Batch) holds(ctx context.Context, s history.ScriptStep, news *news) bool {
	run, found := b.Spacelift.Latest(s.Stack)
	if !found {
		return false
	}
	switch s.Until {
	case script.Waiting:
		return b.Spacelift.AwaitsPeople(run) || run.Ended()
	case script.Ended:
		return run.Ended()
	case script.Failed:
		return run.State == "FAILED" || run.State == "FINISHED"
	case script.Known, script.Asked:
		if run.Ended() {
			return true
		}
		if !news.come(b.Spacelift.Shown(run.ID)) {
			return false
		}
		r := b.Client.Do(ctx, rig.Ask{
			Who: "fay", Operation: "explainRun", Method: http.MethodGet, Path: rig.RunPath(run.Stack, run.ID, shows["explainRun"]), Stack: run.Stack, Run: run.ID, Replica: -1,
		})
		var e explanation
		return r.Status == http.StatusOK && (s.Until == script.Known || json.Unmarshal(r.Answer, &e) == nil && e.Approvals != nil)
	}
	return true
}

// take takes one step, and records it.
func (b *Batch) take(ctx context.Context, number, index int, s history.ScriptStep) {
	step := &history.Step{Index: index, Do: s.Do, Who: s.Who, Stack: s.Stack}
	began := b.History.Now()
	run, found := b.Spacelift.Latest(s.Stack)
	step.Run = run.ID
	var err error
	switch act, inSpacelift := world[s.Do]; {
	case inSpacelift:
		var made spacelift.RunID
		made, err = act(b, s, run)
		step.Run = cmp.Or(string(made), step.Run)
	case !found && !slices.Contains([]string{script.Freeze, script.Lift, script.Ask, script.List, script.Forecast, script.SignIn, script.SignOut, script.Follow}, s.Do):
		err = errors.New("the stack has no run yet")
	default:
		err = b.request(ctx, number, s, run)
	}
	if err != nil {
		step.Error = err.Error()
	}
	b.History.AddSince(began, history.Record{Schedule: number, Step: step})
}

// errUnknownStep names a step that nobody can take.
func errUnknownStep(do string) error { return fmt.Errorf("there is no step %q", do) }
