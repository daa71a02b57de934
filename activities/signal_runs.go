package activities

import (
	"context"
	"errors"
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

// TellInput asks to send a signal to each execution that a query finds.
type TellInput struct {
	Query   string `json:"query"` // https://docs.temporal.io/list-filter
	Signal  string `json:"signal"`
	Payload any    `json:"payload"`
	Limit   int    `json:"limit"` // executions at most

	// Stacks are those whose runs' executions are signaled, by the search
	// attribute Stack; empty for all.
	Stacks []string `json:"stacks,omitempty"`
	Stack  string   `json:"stack,omitempty"`

	// Behind, if set, leaves out executions that know which freezes are in
	// effect.
	Behind *BehindInput `json:"behind,omitempty"`
}

// BehindInput says how to find out which freezes an execution knows.
type BehindInput struct {
	Account     spacelift.Account `json:"account"`
	At          time.Time         `json:"at"`          // now
	Fingerprint string            `json:"fingerprint"` // search attribute
}

// Told says how many executions were signaled.
type Told struct {
	Executions int  `json:"executions"`
	Failed     int  `json:"failed,omitempty"` // could not be signaled
	Complete   bool `json:"complete"`         // false: there were more than the limit
}

const (
	// tellers is how many executions are asked at the same time.
	tellers = 8

	// tellPause is the time from one signal to the next. Each signal makes a run
	// read its rules, and maybe the run itself: a freeze that is lifted is no
	// reason for thousands of calls in one second.
	tellPause = 40 * time.Millisecond

	// tellTimeout bounds one signal, and tellTries is how often it is tried.
	tellTimeout = 5 * time.Second
	tellTries   = 3

	// tellAway is how many signals in a row Temporal may leave without an answer
	// before the attempt ends.
	tellAway = 5

	// stacksPerQuery bounds the length of a query.
	stacksPerQuery = 20
)

// telling is how far TellOfRules has come: the next attempt goes on there.
type telling struct {
	After string   `json:"after"` // executions up to this id, in order, were signaled, or failed
	Sent  int      `json:"sent"`
	Lost  []string `json:"lost,omitempty"` // of those, the ones to try again
}

// maxLost is how many executions are tried again; those beyond count as failed.
const maxLost = 100

// TellOfRules makes executions look again at the rules in effect. Those that the
// visibility store does not list yet are missed; those that ended meanwhile need
// nothing. An execution that can't be signaled does not keep the others waiting:
// it is tried again at the end, and then counted.
func (a *Activities) TellOfRules(ctx context.Context, in TellInput) (Told, error) {
	var at telling
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &at); err != nil {
			at = telling{} // signals may be repeated
		}
	}
	activity.RecordHeartbeat(ctx, at)
	ids, complete, err := a.audience(ctx, in)
	if err != nil {
		return Told{}, err
	}
	failed, away := 0, 0
	for _, id := range ids {
		if id <= at.After {
			continue
		}
		err := a.signal(ctx, id, in)
		switch {
		case ctx.Err() != nil:
			return Told{}, ctx.Err()
		case unanswered(err):
			if away++; away >= tellAway {
				return Told{}, fmt.Errorf("signal %s: %w", id, err)
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
		if away == 0 { // an attempt that ends goes on before what got no answer
			activity.RecordHeartbeat(ctx, at)
		}
		if err := wait(ctx, tellPause); err != nil {
			return Told{}, err
		}
	}
	sent, err := a.signalAgain(ctx, at, in)
	return Told{Executions: at.Sent + sent, Failed: failed + len(at.Lost) - sent, Complete: complete}, err
}

// signalAgain tries those again that could not be signaled.
func (a *Activities) signalAgain(ctx context.Context, at telling, in TellInput) (sent int, err error) {
	ids := at.Lost
	for try := 1; try < tellTries && len(ids) > 0; try++ {
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
func (a *Activities) audience(ctx context.Context, in TellInput) (ids []string, complete bool, err error) {
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
			if in.Behind == nil || outdated(e, a.Definitions, freezes, in.Behind.At) {
				ids = append(ids, e.ID)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), complete, nil
}

// outdated reports whether an execution that follows a run waits by other freezes,
// or another configuration, than those in effect.
func outdated(e execution, rules *policy.Definitions, freezes []policy.Freeze, at time.Time) bool {
	run, err := managed.ParseRunID(e.ID)
	return err == nil && openRun{Run: run, Fingerprint: e.Values[0]}.behind(rules, freezes, at)
}

// queries splits the query by the stacks. What no stack can be called is left
// out: nothing follows its runs.
func (in TellInput) queries() []string {
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
func (a *Activities) signal(ctx context.Context, id string, in TellInput) error {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	err := a.Temporal.SignalWorkflow(ctx, id, "", in.Signal, in.Payload)
	if _, ended := errors.AsType[*serviceerror.NotFound](err); ended {
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
