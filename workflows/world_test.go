package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// configured is the stories' configuration.
var configured = compiled(policy.Config{
	Channels: []string{"deploys", "oncall"},
	Profiles: []policy.Profile{
		{
			Name: "production", Confirm: new(policy.ConfirmManual), Approvals: new(2), Approvers: new("platform"),
			ApprovalTimeout: new(policy.Duration(24 * time.Hour)), Reminders: new(policy.Duration(4 * time.Hour)),
			Escalation: []policy.Step{{After: policy.Duration(6 * time.Hour), Notify: []string{"oncall"}}},
			Notify:     []string{"deploys"},
		},
		{Name: "no-drift", Confirm: new(policy.ConfirmAuto), Drift: new(false), Approvals: new(1), Notify: []string{"deploys"}},
		{Name: "kept", Confirm: new(policy.ConfirmManual), ApprovalTimeout: new(policy.Duration(time.Hour)), OnTimeout: new(policy.TimeoutKeep), Notify: []string{"deploys"}},
		{Name: "patient", Confirm: new(policy.ConfirmAuto), OldPlans: new(policy.OldPlansKeep)},
		{
			Name: "guarded", ConfirmWhen: new("plan.total < 10"), Approvals: new(1), Approvers: new("platform"), Notify: []string{"deploys"},
			ApprovalsWhen: []policy.Requirement{{
				When:   `resources.exists(r, r.destroys && r.type.matches("^aws_(db|rds)_") || r.destroys && r.under("module.network"))`,
				Needed: 2, Group: "dba",
			}},
			HoldWhen: new(`resources.exists(r, r.destroys && r.type == "aws_kms_key")`),
		},
		{Name: "small", Confirm: new(policy.ConfirmAuto), MaxDeleted: new(2), Approvals: new(1)},
		{
			Name: "retried", Confirm: new(policy.ConfirmAuto), Retries: new(2), RetryBackoff: new(policy.Duration(time.Minute)),
			ReadLogs: new(true), Notify: []string{"deploys"},
		},
	},
	Windows: []policy.Window{{
		Name: "mornings", TimeZone: "UTC",
		Allow: []policy.Recurrence{{Start: "2090-01-01T08:00", Duration: policy.Duration(2 * time.Hour), RRule: "FREQ=DAILY"}},
	}},
})

func compiled(c policy.Config) *policy.Definitions {
	rules, err := policy.Compile(c)
	if err != nil {
		panic(err)
	}
	return rules
}

// theConfiguration returns configured, as activities ask for it. A closure in a rig would
// do, but Temporal's test suite confuses functions without names.
func theConfiguration() *policy.Definitions { return configured }

// inEffect returns a configuration as activities ask for it.
func inEffect(c policy.Config) func() *policy.Definitions {
	rules := compiled(c)
	return func() *policy.Definitions { return rules }
}

// world is everything that the stories' executions meet besides the run itself.
type world struct {
	mu      sync.Mutex
	freezes []policy.Freeze
	cold    bool             // Temporal does not answer when asked for the freezes
	arrived []notify.Message // messages that arrived
	deaf    map[string]error // what channels answer to every message
	earlier json.RawMessage  // what an execution of the run that has closed knows
	blind   bool             // Temporal does not answer when asked for executions that closed

	chains []chain.Place // that are open, and the run's place in each
}

// set changes the world while nobody looks.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// QueryWorkflow answers like the execution that keeps the account's freezes.
func (w *world) QueryWorkflow(context.Context, string, string, string, ...any) (converter.EncodedValue, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.cold:
		return nil, errors.New("deadline exceeded")
	case len(w.freezes) == 0:
		return nil, serviceerror.NewNotFound("no such execution")
	}
	b, err := json.Marshal(w.freezes)
	return answered(b), err
}

type answered []byte

func (answered) HasValue() bool     { return true }
func (e answered) Get(to any) error { return json.Unmarshal(e, to) }

// Send takes a message like a channel.
func (w *world) Send(_ context.Context, channel string, m notify.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.deaf[channel]; err != nil {
		return err
	}
	m.Facts = append(m.Facts, notify.Fact{Name: "channel", Value: channel})
	w.arrived = append(w.arrived, m)
	return nil
}

// messages lists what arrived, each as "channel type: title".
func (w *world) messages() (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.arrived {
		list = append(list, m.Facts[len(m.Facts)-1].Value+" "+m.Type+": "+m.Title)
	}
	return list
}

// DiscardRun answers like Spacelift's API, and so do the other verbs.
func (r *rig) DiscardRun(_ context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	return r.verb(ref, "discard", note, spacelift.RunStateDiscarded, spacelift.RunStateUnconfirmed)
}

func (r *rig) CancelRun(_ context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	return r.verb(ref, "cancel", note, spacelift.RunStateCanceled, spacelift.RunStateQueued, spacelift.RunStateReady)
}

func (r *rig) StopRun(_ context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	return r.verb(ref, "stop", note, spacelift.RunStateStopped, spacelift.RunStateInitializing, spacelift.RunStatePlanning)
}

func (r *rig) verb(ref spacelift.RunRef, verb, note string, to spacelift.RunState, from ...spacelift.RunState) (spacelift.RunOutcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.away:
		return spacelift.RunOutcome{}, errors.New("dial tcp: connection refused")
	case r.refuses != nil:
		return spacelift.RunOutcome{}, r.refuses
	case !slices.Contains(from, r.truth.State):
		return spacelift.RunOutcome{}, illegal("run is in " + string(r.truth.State))
	}
	r.acted = append(r.acted, verb+": "+spacelift.Unsigned(note))
	if verb == "stop" && r.deafToStops || verb == "discard" && r.deafToDiscards {
		return spacelift.RunOutcome{Ref: ref, State: r.truth.State}, nil
	}
	r.enter(to, "api::gantry", note)
	return spacelift.RunOutcome{Ref: ref, State: to}, nil
}

// ReviewRun lets the run's approval policy pass with one approval.
func (r *rig) ReviewRun(_ context.Context, _ spacelift.RunRef, decision spacelift.ReviewDecision, note string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.away:
		return errors.New("dial tcp: connection refused")
	case r.refuses != nil:
		return r.refuses
	}
	r.acted = append(r.acted, strings.ToLower(string(decision))+": "+spacelift.Unsigned(note))
	if decision == spacelift.ReviewApprove && r.moreReviews > 0 {
		return nil
	}
	r.truth.NeedsApproval = false
	switch {
	case decision == spacelift.ReviewReject:
		r.enter(spacelift.RunStateFailed, "api::gantry", note)
	case r.truth.State == spacelift.RunStatePendingReview:
		r.enter(spacelift.RunStateFinished, "", "")
	case r.truth.State == spacelift.RunStateQueued:
		r.enter(spacelift.RunStateReady, "", "")
	}
	return nil
}

// PlannedResources answers with resources as the plan's counts say.
func (r *rig) PlannedResources(context.Context, spacelift.RunRef) (spacelift.PlannedResources, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away || r.unlisted {
		return spacelift.PlannedResources{}, errors.New("dial tcp: connection refused")
	}
	r.listed++
	if r.broken != nil {
		return spacelift.PlannedResources{}, r.broken
	}
	planned := spacelift.PlannedResources{Run: r.truth, Resources: r.changes, Complete: true}
	if d := r.truth.Delta; d != nil && r.changes == nil {
		for i := range d.Deleted {
			planned.Resources = append(planned.Resources, spacelift.Resource{Address: fmt.Sprintf("aws_instance.old[%d]", i), Change: spacelift.ChangeDelete})
		}
		for i := range d.Added {
			planned.Resources = append(planned.Resources, spacelift.Resource{Address: fmt.Sprintf("aws_instance.web[%d]", i), Change: spacelift.ChangeAdd})
		}
	}
	return planned, nil
}

// RunLogs answers with the log of the phase that failed.
func (r *rig) RunLogs(context.Context, spacelift.RunRef, spacelift.Transition, int) (spacelift.LogTail, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return spacelift.LogTail{Text: r.log, Complete: true}, nil
}

// temporalOf is the world's Temporal, as far as ManageRun meets it.
type temporalOf struct {
	activities.Temporal

	world *world
}

func (t temporalOf) QueryWorkflow(ctx context.Context, id, runID, query string, args ...any) (converter.EncodedValue, error) {
	switch query {
	case chain.PlaceQuery:
		return t.world.place(id)
	case managed.RecordQuery:
		return answered(t.world.earlier), nil
	}
	return t.world.QueryWorkflow(ctx, id, runID, query, args...)
}
