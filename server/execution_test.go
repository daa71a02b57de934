package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// An execution that begins, or continues as new, takes no updates for a moment.
// The person who decides then does not notice.
func TestADecisionAtABadMomentCounts(t *testing.T) {
	for name, moment := range map[string]error{
		"the first task runs":              serviceerror.NewUnavailable("not ready"),
		"too many updates":                 serviceerror.NewResourceExhausted(enums.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT, "limit"),
		"it continues as new":              serviceerror.NewNotFound("workflow execution already completed"),
		"it continued before it had begun": temporal.NewNonRetryableApplicationError("it completed before the update", "AcceptedUpdateCompletedWorkflow", nil),
	} {
		for _, headers := range [][]string{nil, keyed("k1")} {
			t.Run(name+" "+strings.Join(headers, " "), func(t *testing.T) {
				inBubble(t, func(t *testing.T, r *rig) {
					began, left := time.Now(), 3
					r.temporal.execution = enums.WORKFLOW_EXECUTION_STATUS_RUNNING
					r.temporal.update = func(o client.UpdateWorkflowOptions) (any, error) {
						if left--; left >= 0 {
							return nil, moment
						}
						return counts(o)
					}
					if w := r.post(approverToken, decisions, approve, headers...); w.Code != http.StatusOK {
						t.Errorf("%d %s", w.Code, w.Body)
					}
					if took := time.Since(began); took > time.Second {
						t.Errorf("it took %s", took)
					}
					sent := r.temporal.updates
					for _, u := range sent {
						if u.UpdateID == "" || u.UpdateID != sent[0].UpdateID {
							t.Errorf("sent as %q and as %q: Temporal can't recognise the repeat", sent[0].UpdateID, u.UpdateID)
						}
					}
					if len(sent) != 4 {
						t.Errorf("sent %d times", len(sent))
					}
				})
			})
		}
	}
}

// What a person is refused is refused once.
func TestARefusedDecisionIsNotSentAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) {
			return nil, temporal.NewNonRetryableApplicationError("the plan is confirmed already", "TooLate", nil)
		}
		if w := r.post(approverToken, decisions, approve); w.Code != http.StatusConflict {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if n := len(r.temporal.updates); n != 1 {
			t.Errorf("sent %d times", n)
		}
	})
}

// An unanswered decision is sent again under its key, and the problem says that the
// caller can do so safely.
func TestAnUnansweredDecisionIsSentAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		began := time.Now()
		r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) { return nil, errNobodyWorks }
		p := wantProblem(t, r.post(approverToken, decisions, approve), http.StatusServiceUnavailable, "unanswered")
		if !strings.Contains(*p.Detail, "check the result") {
			t.Errorf("without a key: %s", *p.Detail)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the caller waited %s", took)
		}
		keyless := r.temporal.updates[0].UpdateID
		p = wantProblem(t, r.post(approverToken, decisions, approve, keyed("k1")...), http.StatusServiceUnavailable, "unanswered")
		if !strings.Contains(*p.Detail, "same Idempotency-Key") {
			t.Errorf("with a key: %s", *p.Detail)
		}
		r.temporal.update = counts
		for range 2 {
			if w := r.post(approverToken, decisions, approve, keyed("k1")...); w.Code != http.StatusOK {
				t.Errorf("sent again: %d %s", w.Code, w.Body)
			}
		}
		ids := map[string]int{}
		for _, u := range r.temporal.updates {
			ids[u.UpdateID]++
		}
		if len(ids) != 2 || ids[keyless] == 0 {
			t.Errorf("updates by id: %v; the three requests with a key are one", ids)
		}
	})
}
