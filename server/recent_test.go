package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
)

const waitingList = "waiting=any&order=oldest"

// listsToo makes Temporal list all runs, to those who don't ask for changes. It returns the
// number of such lists.
func (v *visible) listsToo(r *rig) *atomic.Int64 {
	lists, changes := new(atomic.Int64), r.temporal.pages
	r.temporal.pages = func(req *workflowservice.ListWorkflowExecutionsRequest) *workflowservice.ListWorkflowExecutionsResponse {
		if strings.Contains(req.GetQuery(), managed.AttrChanged) {
			return changes(req)
		}
		lists.Add(1)
		v.mu.Lock()
		defer v.mu.Unlock()
		var found []*workflowpb.WorkflowExecutionInfo
		for _, run := range v.runs {
			found = append(found, executionOf(v.t, run))
		}
		return &workflowservice.ListWorkflowExecutionsResponse{Executions: found}
	}
	return lists
}

// Pages renew themselves after an event, within a second of each other. Each person still
// gets their own answer.
func TestPagesThatRenewTogetherShareReadings(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		lists := v.listsToo(r)
		r.temporal.chains = map[string]chain.Status{"chain/acme/01ROOT": aChain()}
		var all []*stream
		for i := range 200 {
			all = append(all, r.listen(fmt.Sprintf("gantry_viewer_%d", i/50), "", ""))
		}
		approver := r.listen(approverToken, "", "")
		pass(2 * time.Second)
		v.change("01", 0)
		pass(1100 * time.Millisecond)
		approver.wantNews(t, "ready, run 01")
		queries := r.temporal.queries()
		for i := range all {
			token := fmt.Sprintf("gantry_viewer_%d", i/50)
			if i%10 == 0 {
				token = approverToken
			}
			w := r.get("/v1/runs?"+waitingList, token)
			runs := decode[api.RunList](t, w).Runs
			if len(runs) != 2 || (len(runs[0].CanDecide) > 0) != (token == approverToken) {
				t.Fatalf("%s: %s", token, w.Body)
			}
			if w := r.get(chainPath, token); w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			pass(4 * time.Millisecond)
		}
		if n := lists.Load(); n > 8 {
			t.Errorf("%d lists for 200 pages", n)
		}
		if n := r.temporal.queries() - queries; n > 8 {
			t.Errorf("%d queries for 200 pages", n)
		}
		for _, s := range append(all, approver) {
			s.leave()
		}
	}, viewers(4))
}

// A page that renews itself after an event shows what the event is about, even if another
// caller has just listed.
func TestAListAfterAnEventIsNoOlder(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		v.listsToo(r)
		s := r.listen(viewerToken, "", "")
		defer s.leave()
		pass(1950 * time.Millisecond) // the hub reads in 50 ms
		r.listed(approverToken, waitingList)
		v.change("01", 0)
		for range 300 {
			pass(10 * time.Millisecond)
			heard := s.news(t) == "ready, run 01"
			if n := len(r.listed(viewerToken, waitingList)); heard && n == 2 {
				return
			} else if heard {
				t.Fatalf("%d runs are listed after the event, want 2", n)
			}
		}
		t.Error("there was no event")
	})
}

func TestADecisionIsInTheNextList(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		v.listsToo(r)
		v.change(string(theRun.Run), time.Hour)
		s := r.listen(viewerToken, "", "")
		defer s.leave()
		r.temporal.update = func(o client.UpdateWorkflowOptions) (any, error) {
			v.change(string(theRun.Run), 0, func(s *managed.RunStatus) { s.Phase = managed.PhaseApplying })
			return counts(o)
		}
		if n := len(r.listed(approverToken, waitingList)); n != 2 {
			t.Fatalf("%d runs wait", n)
		}
		if w := r.post(approverToken, decisions, approve); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if got := r.listed(approverToken, waitingList); len(got) != 1 || got[0] != "00" {
			t.Errorf("after the decision %v wait", got)
		}
	})
}

// Without open streams, every list is read anew.
func TestAListWithoutPagesIsReadAnew(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		lists := v.listsToo(r)
		for range 3 {
			r.listed(viewerToken, waitingList)
		}
		if n := lists.Load(); n != 3 {
			t.Errorf("%d readings for 3 lists", n)
		}
	})
}
