package activities_test

import (
	"context"
	"encoding/json"
	"sync"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/decide/policy"
)

// fakeTemporal has an execution that keeps freezes, and others that take
// signals.
type fakeTemporal struct {
	mu       sync.Mutex
	freezes  []policy.Freeze
	never    bool             // nobody has ever declared a freeze
	away     error            // what it answers to everything
	open     []string         // workflow ids that lists show
	ended    map[string]bool  // of those, the ones that have ended meanwhile
	fails    map[string]error // of those, the ones that can't be signaled
	queries  []string         // of lists
	signaled map[string][]byte
	tries    []string          // workflow ids of signals, in order
	knows    map[string]string // fingerprints, by workflow id
}

func (f *fakeTemporal) QueryWorkflow(_ context.Context, id, _, query string, _ ...any) (converter.EncodedValue, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.away != nil:
		return nil, f.away
	case f.never || id != "freezes/acme" || query != "freezes":
		return nil, serviceerror.NewNotFound("no execution " + id)
	}
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(f.freezes)
	return answer{payloads}, err
}

type answer struct{ payloads *commonpb.Payloads }

func (answer) HasValue() bool { return true }
func (a answer) Get(into any) error {
	return converter.GetDefaultDataConverter().FromPayloads(a.payloads, into)
}

func (f *fakeTemporal) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away != nil {
		return nil, f.away
	}
	f.queries = append(f.queries, req.GetQuery())
	var page workflowservice.ListWorkflowExecutionsResponse
	for _, id := range f.open {
		payload, err := converter.GetDefaultDataConverter().ToPayload(f.knows[id])
		if err != nil {
			return nil, err
		}
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
			Execution:        &commonpb.WorkflowExecution{WorkflowId: id},
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"Fingerprint": payload}},
		})
	}
	return &page, nil
}

func (f *fakeTemporal) SignalWorkflow(_ context.Context, id, _, signal string, arg any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries = append(f.tries, id)
	switch {
	case f.ended[id]:
		return serviceerror.NewNotFound("workflow execution already completed")
	case f.fails[id] != nil:
		return f.fails[id]
	}
	payload, err := converter.GetDefaultDataConverter().ToPayload(arg)
	if err != nil {
		return err
	}
	var text json.RawMessage
	if err := converter.GetDefaultDataConverter().FromPayload(payload, &text); err != nil {
		return err
	}
	if f.signaled == nil {
		f.signaled = map[string][]byte{}
	}
	f.signaled[id] = append([]byte(signal+" "), text...)
	return nil
}
