package workflows_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

var (
	ann  = decide.Person{Name: "ann", Groups: []string{"platform"}}
	bob  = decide.Person{Name: "bob", Groups: []string{"platform"}}
	eve  = decide.Person{Name: "eve", Groups: []string{"interns"}}
	jane = decide.Person{Name: "jane", Aliases: []string{"jane doe"}, Groups: []string{"platform"}} // she wrote the commit

	asked      = []string{"gantry:confirm=manual", "gantry:managed", "gantry:notify=deploys"}
	production = []string{"gantry:managed", "gantry:profile=production"}
)

// answer is the result of an update.
type answer struct {
	done    bool   // there is one
	refused string // the type of the error; empty if it was taken
	late    bool   // it was refused only after it had been accepted
	says    string // the error's message
	status  managed.RunStatus
}

// update sends an update, and returns where its answer will be.
func (r *rig) update(name string, arg any) *answer {
	got := &answer{}
	r.updates++
	no := func(err error) {
		app, ok := errors.AsType[*temporal.ApplicationError](err)
		if !ok || !app.NonRetryable() {
			r.Errorf("%s was refused with %v, want a final application error", name, err)
			return
		}
		got.done, got.refused, got.says = true, app.Type(), app.Message()
	}
	r.env.UpdateWorkflow(name, fmt.Sprint("update-", r.updates), &updateCallback{
		reject: no,
		complete: func(result any, err error) {
			if err != nil {
				no(err)
				got.late = true
				return
			}
			got.done, got.status = true, *result.(*managed.RunStatus)
		},
	}, arg)
	return got
}

type updateCallback struct {
	reject   func(error)
	complete func(any, error)
}

func (*updateCallback) Accept()                          {}
func (c *updateCallback) Reject(err error)               { c.reject(err) }
func (c *updateCallback) Complete(result any, err error) { c.complete(result, err) }

// later checks something after the story: the test environment takes
// updates only after the script's step has returned.
func (r *rig) later(check func()) { r.checks = append(r.checks, check) }

// says makes somebody decide, and expects it to be taken.
func (r *rig) says(who decide.Person, v managed.Verdict, note string) {
	r.Helper()
	r.decides(managed.Decision{Verdict: v, By: who, Note: note}, "")
}

// denied makes somebody decide, and expects a refusal of a type that says
// something.
func (r *rig) denied(who decide.Person, v managed.Verdict, kind, says string) {
	r.Helper()
	got := r.decides(managed.Decision{Verdict: v, By: who}, kind)
	r.later(func() {
		if !strings.Contains(got.says, says) {
			r.Errorf("%s cannot %s because %q, want a reason with %q", who.Name, v, got.says, says)
		}
	})
}

func (r *rig) decides(d managed.Decision, refused string) *answer {
	r.Helper()
	got, at := r.update(managed.DecideUpdate, d), r.env.Now().Sub(started)
	r.later(func() {
		if got.refused != refused || !got.done || got.late {
			r.Errorf("after %s, %s: %s is refused with %q (%s), want %q; answered: %t, late: %t", at, d.By.Name, d.Verdict, got.refused, got.says, refused, got.done, got.late)
		}
	})
	return got
}

// stops makes somebody stop the run.
func (r *rig) stops(who decide.Person, note, refused string) {
	r.Helper()
	got, at := r.update(managed.StopUpdate, managed.StopRequest{By: who, Note: note}), r.env.Now().Sub(started)
	r.later(func() {
		if got.refused != refused || !got.done {
			r.Errorf("after %s, %s stopping is refused with %q (%s), want %q", at, who.Name, got.refused, got.says, refused)
		}
	})
}

// received checks which messages have arrived, by channel, type and a part of the
// title.
func (r *rig) received(want ...string) {
	r.Helper()
	if diff := cmp.Diff(want, r.world.messages()); diff != "" {
		r.Errorf("messages (-want +got):\n%s", diff)
	}
}

// did checks what took effect in Spacelift besides confirmations.
func (r *rig) did(want ...string) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.acted); diff != "" {
		r.Errorf("done in Spacelift (-want +got):\n%s", diff)
	}
}

// explains returns the answer to why the run is where it is.
func (r *rig) explains() managed.Explanation {
	r.Helper()
	var e managed.Explanation
	got, err := r.env.QueryWorkflow(managed.ExplainQuery)
	if err == nil {
		err = got.Get(&e)
	}
	if err != nil {
		r.Errorf("query explain: %v", err)
	}
	return e
}

// retries lets RetryRun be started and answer with a run, and returns what it
// was started with.
func (r *rig) retries(outcome managed.RetryRunOutcome) *[]managed.RetryRunInput {
	var started []managed.RetryRunInput
	r.retriesWith(func(in managed.RetryRunInput) managed.RetryRunOutcome {
		started = append(started, in)
		return outcome
	})
	return &started
}

// retriesWith lets RetryRun be started.
func (r *rig) retriesWith(retry func(managed.RetryRunInput) managed.RetryRunOutcome) {
	r.env.RegisterWorkflowWithOptions(func(_ workflow.Context, in managed.RetryRunInput) (managed.RetryRunOutcome, error) {
		return retry(in), nil
	}, workflow.RegisterOptions{Name: managed.RetryRunType})
}

// fails makes the run fail in Spacelift, with a log of the phase.
func (r *rig) fails(note, log string) {
	r.person("", spacelift.RunStateFailed, note)
	r.set(func() { r.log = log })
}

// someRule reports whether an explanation holds a rule.
func someRule(e managed.Explanation, name, origin string, effect managed.Effect) bool {
	return slices.ContainsFunc(e.Rules, func(x managed.Rule) bool { return x.Name == name && x.Origin == origin && x.Effect == effect })
}
