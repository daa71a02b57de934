package schedules

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
	"github.com/gantryhq/gantry/spacelift"
)

// janitor does in the calm what people must do, by Gantry's own answers.
type janitor struct {
	b *Batch

	mu    sync.Mutex
	tries map[string]int // of what it did about a run or a chain
}

// operatorName is the token by which the janitor reads and repairs.
const operatorName = "eve"

// hands bounds how much the janitor does at a time.
const hands = 8

// round does what can be done now.
func (j *janitor) round(ctx context.Context) {
	var work sync.WaitGroup
	limit := make(chan struct{}, hands)
	do := func(f func()) {
		limit <- struct{}{}
		work.Go(func() {
			defer func() { <-limit }()
			f()
		})
	}
	do(func() { j.liftFreezes(ctx) })
	for _, run := range j.b.Spacelift.Open() {
		do(func() { j.tend(ctx, run) })
	}
	for _, c := range j.b.chains(ctx, operatorName, "?phase=held", true) {
		do(func() { j.resume(ctx, c) })
	}
	work.Wait()
}

// again counts how often something was tried.
func (j *janitor) again(what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tries[what]++
	return j.tries[what]
}

func (j *janitor) liftFreezes(ctx context.Context) {
	r := j.b.Client.Do(ctx, rig.Ask{Who: operatorName, Operation: "listFreezes", Method: http.MethodGet, Path: "freezes", Replica: -1, Janitor: true})
	var list struct{ Freezes []struct{ ID string } }
	if r.Status != http.StatusOK || json.Unmarshal(r.Answer, &list) != nil {
		return // the next round tries again
	}
	for _, f := range list.Freezes {
		j.b.Client.Do(ctx, rig.Ask{Who: operatorName, Operation: "liftFreeze", Method: http.MethodDelete, Path: "freezes/" + f.ID, Replica: -1, Janitor: true})
	}
}

// explanation is the part of an explanation that says what people must do.
type explanation struct {
	Phase      string
	WaitingFor struct {
		What, Reason string
		Until        time.Time
	}
	Approvals *struct{ Needed, Given int }
}

// tend does what one open run needs of people.
func (j *janitor) tend(ctx context.Context, run rig.Run) {
	st, exists := j.b.Spacelift.StackNow(run.Stack)
	if !exists {
		return
	}
	if st.LockedBy != "" {
		j.step(run, script.Unlock, "max")
	}
	if st.Disabled {
		j.step(run, script.Enable, "max")
	}
	if !j.b.Spacelift.AwaitsPeople(run) {
		return
	}
	r := j.b.Client.Do(ctx, rig.Ask{
		Who: operatorName, Operation: "explainRun", Method: http.MethodGet, Path: rig.RunPath(run.Stack, run.ID, "explain"), Stack: run.Stack, Run: run.ID,
		Replica: -1, Janitor: true,
	})
	var e explanation
	switch {
	case !slices.Contains(st.Labels, spacelift.LabelManaged):
		j.decideNatively(run)
	case r.Status != http.StatusOK || json.Unmarshal(r.Answer, &e) != nil:
		return // Gantry must learn of it first
	case e.WaitingFor.What == "labels", e.WaitingFor.What == "policy",
		e.WaitingFor.What == "gate" && slices.ContainsFunc(st.Labels, shutsGate):
		j.relabel(run, st.Labels)
	case st.Deleting:
		j.step(run, script.NativeDiscard, "joe") // Gantry does nothing more for the stack, and its destruction waits for the run
	case e.WaitingFor.What == "person":
		j.decide(ctx, run, e)
	case e.WaitingFor.What == "chain":
		j.unchain(ctx, run, strings.Contains(e.WaitingFor.Reason, "ended in"))
	case time.Until(e.WaitingFor.Until) > longWait && j.again("wait "+run.ID) > patientRounds:
		j.decideNatively(run)
	}
}

// After so many rounds, people decide in Spacelift about a plan that Gantry won't
// try again for so long. Gantry names that way out.
const (
	patientRounds = 15
	longWait      = time.Minute
)

// unchain helps a plan that waits for the stacks before it: it has failed runs
// retried and, if that doesn't help for long, discards the plan. below says that
// one of those runs ended without finishing.
func (j *janitor) unchain(ctx context.Context, run rig.Run, below bool) {
	switch tries := j.again("chain " + run.ID); {
	case tries%(10*patientRounds) == 0, below && tries%(2*patientRounds) == 0:
		j.step(run, script.NativeDiscard, "joe")
	case tries%patientRounds == 0:
		for _, r := range j.b.Spacelift.Failed(history.ScheduleOf(run.Stack)) {
			j.b.Client.Do(ctx, rig.Ask{
				Who: operatorName, Operation: "retryRun", Method: http.MethodPost, Path: rig.RunPath(r.Stack, r.ID, "retry"), Stack: r.Stack, Run: r.ID,
				Replica: -1, Janitor: true,
			})
		}
	}
}

// shutsGate reports whether a label may close the gate permanently.
func shutsGate(label string) bool {
	return strings.HasPrefix(label, "gantry:window=") || strings.HasPrefix(label, "gantry:profile=")
}

// step does something to the stack of a run in Spacelift.
func (j *janitor) step(run rig.Run, do, who string) {
	s := history.ScriptStep{Do: do, Who: who, Stack: run.Stack}
	record := &history.Step{Index: -1, Do: do, Who: who, Stack: run.Stack, Run: run.ID}
	began := j.b.History.Now()
	if _, err := world[do](j.b, s, run); err != nil {
		record.Error = err.Error()
	}
	j.b.History.AddSince(began, history.Record{Schedule: history.ScheduleOf(run.Stack), Step: record})
}

func (j *janitor) relabel(run rig.Run, labels []string) {
	if readable := script.Readable(run.Stack, labels); !slices.Equal(labels, readable) {
		_ = j.b.Spacelift.SetLabels(spacelift.StackID(run.Stack), readable...) // a stack that was destroyed needs no labels
	}
}

// decide has people approve a plan through Gantry, or decide in Spacelift where
// Gantry says that they must.
func (j *janitor) decide(ctx context.Context, run rig.Run, e explanation) {
	tries := j.again("decide " + run.ID)
	if j.b.Spacelift.NeedsReview(run) {
		j.decideNatively(run)
	}
	if e.Approvals == nil || tries > 5 && !j.enforced(run) {
		j.decideNatively(run)
		return
	}
	for _, p := range script.People {
		if p.Role != "approver" && p.Role != "admin" || p.Name == script.Revocable || e.Approvals.Given >= e.Approvals.Needed {
			continue
		}
		r := j.b.Client.Do(ctx, rig.Ask{
			Who: p.Name, Operation: "decideRun", Method: http.MethodPost, Path: rig.RunPath(run.Stack, run.ID, "decisions"), Stack: run.Stack, Run: run.ID,
			Body: map[string]any{"verdict": "approve", "stateVersion": run.Version, "note": "the janitor approves"}, Replica: -1, Janitor: true,
		})
		if r.Status == http.StatusOK {
			e.Approvals.Given++
		}
	}
}

// enforced reports whether Gantry's policies are attached to the stack of a run.
func (j *janitor) enforced(run rig.Run) bool {
	st, _ := j.b.Spacelift.StackNow(run.Stack)
	return (slices.Contains(script.Enforced, st.Space) || j.b.Spacelift.Glass(st.Space)) && slices.Contains(st.Labels, spacelift.LabelManaged)
}

// decideNatively has somebody decide in Spacelift.
func (j *janitor) decideNatively(run rig.Run) {
	reviewers := []string{"joe", "max", "jane"}
	if j.b.Spacelift.NeedsReview(run) && j.again("enforced "+run.ID) > 2*patientRounds && j.enforced(run) {
		j.step(run, script.NativeDiscard, "joe") // nobody but Gantry can confirm it
		return
	}
	if j.b.Spacelift.NeedsReview(run) || run.State == "PENDING_REVIEW" {
		j.step(run, script.ReviewApprove, reviewers[j.again("review "+run.ID)%len(reviewers)])
		return
	}
	if run.State == "UNCONFIRMED" {
		j.step(run, script.NativeConfirm, "joe")
	}
}

// resume retries or skips the stacks that hold a chain: which of the two, its id
// decides.
func (j *janitor) resume(ctx context.Context, c chain) {
	r := j.b.Client.Do(ctx, rig.Ask{Who: operatorName, Operation: "getChain", Method: http.MethodGet, Path: "chains/" + c.Run, Run: c.Run, Replica: -1, Janitor: true})
	var shown struct {
		Nodes []struct{ Stack, State, Run string }
	}
	if r.Status != http.StatusOK || json.Unmarshal(r.Answer, &shown) != nil {
		return // the next round tries again
	}
	for _, n := range shown.Nodes {
		ask := rig.Ask{Who: operatorName, Method: http.MethodPost, Stack: n.Stack, Run: n.Run, Replica: -1, Janitor: true}
		tries := j.again("resume " + c.Run + n.Stack)
		st, _ := j.b.Spacelift.StackNow(n.Stack)
		switch {
		case n.State == "failed" && tries == 1 && c.Run[len(c.Run)-1]%2 == 0:
			ask.Operation, ask.Path = "retryRun", rig.RunPath(n.Stack, n.Run, "retry")
		case n.State == "failed" || n.State == "held" && tries > 2:
			ask.Operation, ask.Path, ask.Run = "skipChainStack", "chains/"+c.Run+"/skip", c.Run
			ask.Body = map[string]string{"stack": n.Stack, "note": "the janitor skips it"}
		case n.State == "held":
			j.relabel(rig.Run{Stack: n.Stack}, st.Labels)
			continue
		default:
			continue
		}
		j.b.Client.Do(ctx, ask)
	}
}
