package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// TemporalTarget signals the execution of a run, and starts it if need be: one
// SignalWithStart for all events. An execution that has ended is not started
// again (REJECT_DUPLICATE): its events are late.
type TemporalTarget struct {
	Client    client.Client
	TaskQueue string
}

// Signal implements [Target].
func (t TemporalTarget) Signal(ctx context.Context, run spacelift.RunRef, events []managed.RunEvent) error {
	id := managed.ManageRunID(run)
	var attributes []temporal.SearchAttributeUpdate
	for _, a := range managed.StartAttributes(run, events) {
		attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(a.Name).ValueSet(a.Value))
	}
	_, err := t.Client.SignalWithStartWorkflow(ctx, id, managed.RunEventsSignal, managed.RunEvents{Events: events},
		client.StartWorkflowOptions{
			TaskQueue:             t.TaskQueue,
			WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
			TypedSearchAttributes: temporal.NewSearchAttributes(attributes...), // one event less in the history than if it set them
		},
		managed.ManageRunType, managed.ManageRunInput{Run: run})
	if err != nil {
		return fmt.Errorf("signal %s: %w", id, classify(err))
	}
	return nil
}

// lacksAttributes tells an invalid argument that is the namespace's fault from
// one that is the events': "no mapping defined for search attribute", "search
// attribute … is not defined", "invalid value for search attribute … of type"
// (go.temporal.io/server, common/searchattribute), but not one too large.
func lacksAttributes(err error) bool {
	return strings.Contains(err.Error(), "search attribute") && !strings.Contains(err.Error(), "exceeds")
}

// classify says what an error of SignalWithStart means for the events.
//
// Only two answers make events dead, because nothing but other events could
// change them: an invalid argument (Temporal reports a payload above its limit
// and an execution with too many signals in this way), and a request that
// gRPC finds too large to carry. A missing permission or namespace, bad
// credentials, an old server and search attributes that the namespace lacks
// are mistakes in the configuration: they would kill every event, and are mended
// by an operator or by the first worker, so events wait. So they do for
// everything else, known or not.
func classify(err error) error {
	if _, ok := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); ok {
		return fmt.Errorf("%w: %w", ErrEnded, err)
	}
	if _, ok := errors.AsType[*serviceerror.InvalidArgument](err); ok && !lacksAttributes(err) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	// gRPC uses one code for "too many requests" and for "too large", and tells
	// them apart in words only: "trying to send message larger than max",
	// "received message larger than max" (google.golang.org/grpc/rpc_util.go).
	if _, ok := errors.AsType[*serviceerror.ResourceExhausted](err); ok && strings.Contains(err.Error(), "message larger than max") {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}
