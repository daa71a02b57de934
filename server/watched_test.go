package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/managed"
)

// histories makes Temporal describe executions of network-prod with histories of a length.
// It returns that, and the number of descriptions.
func (r *rig) histories(status enums.WorkflowExecutionStatus) (length, descriptions *atomic.Int64) {
	r.t.Helper()
	stack, err := converter.GetDefaultDataConverter().ToPayload("network-prod")
	if err != nil {
		r.t.Fatal(err)
	}
	length, descriptions = new(atomic.Int64), new(atomic.Int64)
	r.temporal.described = func(string) *workflowpb.WorkflowExecutionInfo {
		descriptions.Add(1)
		return &workflowpb.WorkflowExecutionInfo{
			Execution: &commonpb.WorkflowExecution{RunId: "temporal-run"}, Status: status, HistoryLength: length.Load(),
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{managed.AttrStack: stack}},
		}
	}
	return length, descriptions
}

const ofTheRun = "?account=acme&stack=network-prod&run="

// A page of a run learns of all that happens there, though lists don't show it, and of no
// other run. However many have it open, it costs one short call a second while something
// happens, and fewer later.
func TestProgressOfARun(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		length, descriptions := r.histories(enums.WORKFLOW_EXECUTION_STATUS_RUNNING)
		var all []*stream
		for i := range 40 {
			all = append(all, r.listen(fmt.Sprintf("gantry_viewer_%d", i/10), ofTheRun+"01", ""))
		}
		pass(4500 * time.Millisecond)
		length.Add(3)
		v.change("02", 0)
		pass(3 * time.Second)
		v.change("01", 0)
		pass(2 * time.Second)
		late := r.listen(viewerToken, ofTheRun+"01", "")
		late.wantNews(t, "ready, progress")
		for _, s := range all {
			s.wantNews(t, "ready, progress, progress, run 01")
			s.leave()
		}
		before := descriptions.Load()
		pass(time.Minute)
		if n := descriptions.Load(); before > 10 || n-before > 15 {
			t.Errorf("%d descriptions in 9 seconds, %d in the next minute", before, n-before)
		}
		late.leave()
		pass(6 * time.Second)
		before = descriptions.Load()
		pass(time.Minute)
		if n := descriptions.Load() - before; n != 0 {
			t.Errorf("%d descriptions though nobody listens", n)
		}
	}, viewers(4))
}

// What has ended is hardly asked for.
func TestProgressOfARunThatHasEnded(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, _ *visible) {
		_, descriptions := r.histories(enums.WORKFLOW_EXECUTION_STATUS_COMPLETED)
		s := r.listen(viewerToken, ofTheRun+"01", "")
		pass(50 * time.Second)
		s.wantNews(t, "ready, progress")
		if n := descriptions.Load(); n != 1 {
			t.Errorf("%d descriptions", n)
		}
		s.leave()
	})
}

// Progress is a sign of activity, so it is for those who may see the stack; that of a chain
// for those who may see the stack that began it.
func TestProgressInScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := scopesRig(t)
		r.shows()
		r.histories(enums.WORKFLOW_EXECUTION_STATUS_RUNNING)
		for name, p := range places {
			for _, query := range []string{ofTheRun + "01", "?account=acme&chain=01", "?account=acme&stack=app-prod&chain=01"} {
				s := r.listen(tokenFor(authority.RoleViewer, name), query, "")
				pass(2 * time.Second)
				if s.w.Code == http.StatusForbidden && !p.stack {
					continue
				}
				if got := strings.Contains(s.news(t), "progress"); got != p.stack {
					t.Errorf("%s with %s: %t, want %t", name, query, got, p.stack)
				}
				s.leave()
			}
		}
		pass(2 * time.Second)
	})
}

func TestProgressNeedsItsPlace(t *testing.T) {
	r := newRig(t)
	for query, parameter := range map[string]string{"run=01": "run", "run=01&account=acme": "run", "run=01&account=acme&stack=*": "run", "run=01&account=acme&stack=a&chain=02": "run", "chain=01": "chain"} {
		named(t, wantProblem(t, r.get("/v1/events?"+query, viewerToken), http.StatusBadRequest, "bad-request"), parameter)
	}
}
