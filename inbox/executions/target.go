// Package executions hands the inbox's events to Temporal: those of a run to the
// execution that manages it. Everything that depends on Temporal's answers is here.
package executions

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync/atomic"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/spacelift"
)

// Target signals the execution of a run, and starts it if necessary: one
// SignalWithStart for all events. It doesn't start an execution again that has
// ended (REJECT_DUPLICATE): its events are late.
type Target struct {
	Client    client.Client
	TaskQueue string
	Pages     decide.Pages // for what Temporal shows of an execution from its start

	started [1 << 14]atomic.Uint64 // runs whose executions exist, by hash
}

// seed is the process's own, so nobody can choose runs that share a hash.
var seed = maphash.MakeSeed()

// Signal implements [inbox.Target].
func (t *Target) Signal(ctx context.Context, run spacelift.RunRef, events []managed.RunEvent) error {
	id := managed.ManageRunID(run)
	if err := run.Validate(); err != nil { // stored by a version that took such ids; gRPC would send none of them, ever
		return fmt.Errorf("signal %s: %w: %w", id, inbox.ErrRefused, err)
	}
	hash := maphash.Comparable(seed, run)
	started := &t.started[hash%uint64(len(t.started))]
	var opening decide.Opening
	var attributes []temporal.SearchAttributeUpdate
	var memo map[string]any
	if started.Load() != hash { // an execution that exists takes none, and they cost more than the event
		opening = managed.Opening(run, events, t.Pages)
		for _, a := range managed.StartAttributes(run, events) {
			attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(a.Name).ValueSet(a.Value))
		}
		memo = managed.StartMemo(run, events, nil)
	}
	_, err := t.Client.SignalWithStartWorkflow(ctx, id, managed.RunEventsSignal, managed.RunEvents{Events: events},
		client.StartWorkflowOptions{
			TaskQueue:             t.TaskQueue,
			WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
			TypedSearchAttributes: temporal.NewSearchAttributes(attributes...), // one event less in the history than if it set them
			Memo:                  memo,
			StaticSummary:         opening.Summary,
			StaticDetails:         opening.Details,
		},
		managed.ManageRunType, managed.ManageRunInput{Run: run})
	if err != nil {
		return fmt.Errorf("signal %s: %w", id, classify(err))
	}
	started.Store(hash)
	return nil
}

// lacksAttributes reports whether the namespace causes the invalid argument,
// rather than the events: "no mapping defined for search attribute", "search
// attribute … is not defined", "invalid value for search attribute … of type"
// (go.temporal.io/server, common/searchattribute), but not a value too large.
func lacksAttributes(err error) bool {
	return strings.Contains(err.Error(), "search attribute") && !strings.Contains(err.Error(), "exceeds")
}

// classify wraps an error of SignalWithStart with ErrEnded or ErrRefused, or
// returns it as it is.
//
// Only two answers make events dead, because the same events would get them
// again: an invalid argument (Temporal reports a payload above its limit and an
// execution with too many signals in this way), and a request that is too large
// for gRPC. A missing permission or namespace, bad credentials, an old server and
// missing search attributes are mistakes in the configuration: they would kill
// every event, and an operator or the first worker fixes them, so events wait.
// Events wait for every other error, known or not.
func classify(err error) error {
	if _, ok := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); ok {
		return fmt.Errorf("%w: %w", inbox.ErrEnded, err)
	}
	if _, ok := errors.AsType[*serviceerror.InvalidArgument](err); ok && !lacksAttributes(err) {
		return fmt.Errorf("%w: %w", inbox.ErrRefused, err)
	}
	// gRPC uses one code for "too many requests" and for "too large". Only the
	// text differs: "trying to send message larger than max", "received message
	// larger than max" (google.golang.org/grpc/rpc_util.go).
	if _, ok := errors.AsType[*serviceerror.ResourceExhausted](err); ok && strings.Contains(err.Error(), "message larger than max") {
		return fmt.Errorf("%w: %w", inbox.ErrRefused, err)
	}
	return err
}
