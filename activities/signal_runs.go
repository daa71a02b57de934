package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// SignalInput is a signal for each execution that a query finds, or for those of IDs.
type SignalInput struct {
	Query   string   `json:"query,omitempty"` // https://docs.temporal.io/list-filter
	IDs     []string `json:"ids,omitempty"`   // workflow ids
	Signal  string   `json:"signal"`
	Payload any      `json:"payload"`
	Limit   int      `json:"limit"` // executions at most

	// Stacks limits the signal to runs of these stacks, by the search attribute
	// Stack; empty for all.
	Stacks []string `json:"stacks,omitempty"`
	Stack  string   `json:"stack,omitempty"`

	// Behind, if set, leaves out executions that know the freezes in effect.
	Behind *BehindInput `json:"behind,omitempty"`
}

// BehindInput names the search attribute that shows which freezes an execution
// knows.
type BehindInput struct {
	Account     spacelift.Account `json:"account"`
	At          time.Time         `json:"at"`          // now
	Fingerprint string            `json:"fingerprint"` // search attribute
}

// SignalResult counts the executions that were signaled.
type SignalResult struct {
	Executions int  `json:"executions"`
	Failed     int  `json:"failed,omitempty"` // could not be signaled
	Complete   bool `json:"complete"`         // false: there were more than the limit
}

const (
	// parallelCalls bounds the executions that are queried at the same time.
	parallelCalls = 8

	// signalPause is the time from one signal to the next. Each signal makes
	// ManageRun read its rules, and maybe the run: lifting a freeze must not cause
	// thousands of calls in one second.
	signalPause = 40 * time.Millisecond

	// signalTimeout bounds one signal, and signalTries its attempts.
	signalTimeout = 5 * time.Second
	signalTries   = 3

	// maxUnanswered bounds the signals in a row that Temporal doesn't answer: then
	// the attempt ends.
	maxUnanswered = 5

	// stacksPerQuery bounds the length of a query.
	stacksPerQuery = 20
)

// progress is the progress of SignalExecutions: the next attempt continues there.
type progress struct {
	After string   `json:"after"` // executions up to this id, in order, were signaled, or failed
	Sent  int      `json:"sent"`
	Lost  []string `json:"lost,omitempty"` // of those, the ones to try again
}

// maxLost bounds the executions that are tried again; those beyond count as failed.
const maxLost = 100

// SignalExecutions signals executions that something outside of them has changed: the
// rules in effect, or the run or chain that they wait for. It misses executions that the
// visibility store does not list yet; those that have ended need nothing. An execution
// that can't be signaled does not hold up the others: it is tried again at the end, and
// then counted.
//
// The name is a contract with open executions.
func (a *Activities) SignalExecutions(ctx context.Context, in SignalInput) (SignalResult, error) {
	var at progress
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &at); err != nil {
			at = progress{} // signals may be repeated
		}
	}
	activity.RecordHeartbeat(ctx, at)
	ids, complete, err := a.audience(ctx, in)
	if err != nil {
		return SignalResult{}, err
	}
	failed, away := 0, 0
	for _, id := range ids {
		if id <= at.After {
			continue
		}
		err := a.signal(ctx, id, in)
		switch {
		case ctx.Err() != nil:
			return SignalResult{}, ctx.Err()
		case unanswered(err):
			if away++; away >= maxUnanswered {
				return SignalResult{}, fmt.Errorf("signal %s: %w", id, err)
			}
		default:
			away = 0
		}
		switch {
		case err == nil:
			at.Sent++
		case len(at.Lost) < maxLost:
			at.Lost = append(at.Lost, id)
		default:
			failed++
		}
		at.After = id
		if away == 0 { // the next attempt repeats the signals without an answer
			activity.RecordHeartbeat(ctx, at)
		}
		if err := wait(ctx, signalPause); err != nil {
			return SignalResult{}, err
		}
	}
	sent, err := a.signalAgain(ctx, at, in)
	return SignalResult{Executions: at.Sent + sent, Failed: failed + len(at.Lost) - sent, Complete: complete}, err
}

// signalAgain signals the executions that could not be signaled.
func (a *Activities) signalAgain(ctx context.Context, at progress, in SignalInput) (sent int, err error) {
	ids := at.Lost
	for try := 1; try < signalTries && len(ids) > 0; try++ {
		if err := wait(ctx, time.Duration(try)*time.Second); err != nil {
			return 0, err
		}
		var left []string
		for _, id := range ids {
			activity.RecordHeartbeat(ctx, at)
			if err := a.signal(ctx, id, in); err != nil {
				left = append(left, id)
				continue
			}
			sent++
		}
		ids = left
	}
	return sent, ctx.Err()
}

// audience lists the executions to signal, by their ids.
func (a *Activities) audience(ctx context.Context, in SignalInput) (ids []string, complete bool, err error) {
	if len(in.IDs) > 0 {
		return slices.Sorted(slices.Values(in.IDs)), true, nil
	}
	var freezes []policy.Freeze
	if in.Behind != nil {
		if freezes, err = a.freezes(ctx, in.Behind.Account); err != nil {
			return nil, false, err
		}
	}
	complete = true
	for _, query := range in.queries() {
		var attributes []string
		if in.Behind != nil {
			attributes = []string{in.Behind.Fingerprint}
		}
		found, all, err := a.executions(ctx, query, in.Limit-len(ids), attributes...)
		if err != nil {
			return nil, false, err
		}
		complete = complete && all
		for _, e := range found {
			if in.Behind == nil || outdated(e, a.definitions(), freezes, in.Behind.At) {
				ids = append(ids, e.ID)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), complete, nil
}

// outdated reports whether an execution waits by freezes or a configuration that
// are no longer in effect.
func outdated(e execution, rules *policy.Definitions, freezes []policy.Freeze, at time.Time) bool {
	run, err := managed.ParseRunID(e.ID)
	return err == nil && openRun{Run: run, Fingerprint: e.Values[0]}.behind(rules, freezes, at)
}

// queries splits the query by the stacks. It leaves out names that no stack can
// have.
func (in SignalInput) queries() []string {
	if len(in.Stacks) == 0 {
		return []string{in.Query}
	}
	var names []string
	for _, s := range in.Stacks {
		if spacelift.ValidateStack(spacelift.StackID(s)) == nil {
			names = append(names, "'"+s+"'") // a stack's id holds no quote
		}
	}
	var all []string
	for some := range slices.Chunk(names, stacksPerQuery) {
		all = append(all, fmt.Sprintf("%s AND %s IN (%s)", in.Query, in.Stack, strings.Join(some, ", ")))
	}
	return all
}

// signal sends the signal to one execution. One that has ended needs none.
func (a *Activities) signal(ctx context.Context, id string, in SignalInput) error {
	ctx, cancel := context.WithTimeout(ctx, signalTimeout)
	defer cancel()
	err := a.Temporal.SignalWorkflow(ctx, id, "", in.Signal, in.Payload)
	if is[*serviceerror.NotFound](err) { // it has ended
		return nil
	}
	return err
}

// wait waits for a time, unless the context ends before.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
