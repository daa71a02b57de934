package executions

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/spacelift"
)

// fakeClient answers SignalWithStartWorkflow and notes what was asked.
type fakeClient struct {
	client.Client
	answer error
	asked  signalWithStart
}

type signalWithStart struct {
	ID, Signal string
	Arg        any
	Queue      string
	Reuse      enumspb.WorkflowIdReusePolicy
	Attributes map[string]any
	Memo       map[string]any
	Workflow   any
	Input      []any
}

func (c *fakeClient) SignalWithStartWorkflow(_ context.Context, id, signal string, arg any, o client.StartWorkflowOptions, workflow any, input ...any) (client.WorkflowRun, error) {
	attributes := map[string]any{}
	for key, value := range o.TypedSearchAttributes.GetUntypedValues() {
		attributes[key.GetName()] = value
	}
	c.asked = signalWithStart{id, signal, arg, o.TaskQueue, o.WorkflowIDReusePolicy, attributes, o.Memo, workflow, input}
	return nil, c.answer
}

func TestTargetSignalsOneExecutionPerRun(t *testing.T) {
	t.Parallel()
	run := spacelift.RunRef{Account: "acme", Stack: "network", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	events := []managed.RunEvent{ev(run, 0, spacelift.RunStateQueued), ev(run, 1, spacelift.RunStateReady)}
	c := &fakeClient{}
	target := &Target{Client: c, TaskQueue: "gantry"}
	if err := target.Signal(t.Context(), run, events); err != nil {
		t.Fatal(err)
	}
	want := signalWithStart{
		ID: "run/acme/network/01KDX3V4T8Q2M5N7P9R1S3T5V7", Signal: "run-events", Arg: managed.RunEvents{Events: events},
		Queue: "gantry", Reuse: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		Attributes: map[string]any{
			"GantryAccount": "acme", "GantryStack": "network", "GantryRunState": "READY", "GantryRunType": "TRACKED", "GantryPhase": "queued",
			"GantryFingerprint": policy.Facts{Labels: events[1].Labels}.Fingerprint(),
		},
		Memo:     map[string]any{"gantryRun": managed.Listed{Labels: events[1].Labels}},
		Workflow: "ManageRun", Input: []any{managed.ManageRunInput{Run: run}},
	}
	if diff := cmp.Diff(want, c.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if err := target.Signal(t.Context(), run, events); err != nil {
		t.Fatal(err)
	}
	want.Attributes, want.Memo = map[string]any{}, nil // the execution has its own by now
	if diff := cmp.Diff(want, c.asked); diff != "" {
		t.Errorf("asked next (-want +got):\n%s", diff)
	}
}

func TestWhatTemporalsAnswersMean(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want error // nil: send again
	}{
		{"execution has ended", serviceerror.NewWorkflowExecutionAlreadyStarted("already started", "", ""), inbox.ErrEnded},
		{"payload too large", serviceerror.NewInvalidArgument("Blob data size exceeds limit."), inbox.ErrRefused},
		{"attribute too large", serviceerror.NewInvalidArgument("search attribute GantryStack value size 4096 exceeds size limit 2048"), inbox.ErrRefused},
		{"fresh namespace", serviceerror.NewInvalidArgument("Namespace gantry has no mapping defined for search attribute GantryStack"), nil},
		{"attribute removed", serviceerror.NewInvalidArgument("search attribute GantryStack is not defined"), nil},
		{"request too large for gRPC", &serviceerror.ResourceExhausted{Message: "grpc: trying to send message larger than max (5 vs. 4)"}, inbox.ErrRefused},
		{"rate limit", &serviceerror.ResourceExhausted{Message: "namespace rate limit exceeded"}, nil},
		{"away", serviceerror.NewUnavailable("connection refused"), nil},
		{"slow", serviceerror.NewDeadlineExceeded("context deadline exceeded"), nil},
		{"our deadline", context.DeadlineExceeded, nil},
		{"wrong credentials", serviceerror.NewPermissionDenied("request unauthorized", ""), nil},
		{"wrong namespace", serviceerror.NewNamespaceNotFound("gantry"), nil},
		{"old server", serviceerror.NewUnimplemented("unknown method"), nil},
		{"fault in the server", serviceerror.NewInternal("oops"), nil},
		{"something new", errors.New("something new"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := (&Target{Client: &fakeClient{answer: c.err}}).Signal(t.Context(), spacelift.RunRef{Account: "acme", Stack: "network", Run: "run-1"}, nil)
			if !errors.Is(err, c.err) {
				t.Errorf("%v hides the cause", err)
			}
			for _, class := range []error{inbox.ErrEnded, inbox.ErrRefused} {
				if got := errors.Is(err, class); got != errors.Is(c.want, class) {
					t.Errorf("%v is %q: %t", err, class, got)
				}
			}
		})
	}
}

// gRPC refuses to send an id beyond ASCII as a header, before Temporal sees it, and
// would do so at every attempt.
func TestAnIDThatCannotBeSentIsRefused(t *testing.T) {
	t.Parallel()
	c := &fakeClient{}
	err := (&Target{Client: c}).Signal(t.Context(), spacelift.RunRef{Account: "acme", Stack: "réseau", Run: "01"}, nil)
	if !errors.Is(err, inbox.ErrRefused) || c.asked.ID != "" {
		t.Errorf("asked for %q: %v", c.asked.ID, err)
	}
}

func ev(run spacelift.RunRef, version int, state spacelift.RunState) managed.RunEvent {
	return managed.RunEvent{Run: run, Type: spacelift.RunTypeTracked, State: state, StateVersion: version, Labels: []string{spacelift.LabelManaged}}
}
