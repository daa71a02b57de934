package simulator_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// The stories of this file use the control API alone, as tests of other programs
// do.

func (r *rig) must(want int, method, path, body string, out any) {
	r.t.Helper()
	if got := r.control(method, path, body, out); got != want {
		r.t.Fatalf("%s %s %s: status %d, want %d", method, path, body, got, want)
	}
}

// pushed pushes to a stack and lets everything happen that needs no time.
func (r *rig) pushed(stack, body string) (id spacelift.RunID, path string) {
	r.t.Helper()
	var run struct{ Ref spacelift.RunRef }
	r.must(201, "POST", "/stacks/"+stack+"/pushes", body, &run)
	r.settle()
	return run.Ref.Run, "/stacks/" + stack + "/runs/" + string(run.Ref.Run)
}

func TestWorkerIgnoresStop(t *testing.T) {
	t.Run("as pushed", func(t *testing.T) {
		r := newRig(t)
		r.must(201, "POST", "/stacks", `{"id":"net"}`, nil)
		id, path := r.pushed("net", `{"plan":{"delta":{"added":1},"phases":{"PLANNING":"10s"},"ignoreStop":true}}`)
		r.is("net", id, "PLANNING")
		r.must(201, "POST", path+"/stop", `{"by":"jane","note":"do not apply this"}`, nil)
		r.advance(10 * time.Second)
		r.is("net", id, "UNCONFIRMED")
	})
	t.Run("once it runs", func(t *testing.T) {
		r := newRig(t)
		r.must(201, "POST", "/stacks", `{"id":"net"}`, nil)
		id, path := r.pushed("net", `{"plan":{"phases":{"PLANNING":"10s"}}}`)
		r.must(204, "PATCH", path+"/plan", `{"ignoreStop":true}`, nil)
		r.must(201, "POST", path+"/stop", `{"by":"jane"}`, nil)
		r.advance(10 * time.Second)
		r.is("net", id, "FINISHED")
	})
	t.Run("for a while", func(t *testing.T) {
		r := newRig(t)
		r.must(201, "POST", "/stacks", `{"id":"net"}`, nil)
		id, path := r.pushed("net", `{"plan":{"phases":{"PLANNING":"1m"},"stopLag":"20s"}}`)
		r.must(201, "POST", path+"/stop", `{"by":"jane"}`, nil)
		r.advance(19 * time.Second)
		r.is("net", id, "PLANNING")
		r.advance(time.Second)
		r.is("net", id, "STOPPED")
	})
}

// A lock has an owner, a time and a note, and switches autodeploy off.
func TestLockTakenWhileARunPlans(t *testing.T) {
	r := newRig(t)
	r.must(201, "POST", "/stacks", `{"id":"net","autodeploy":true}`, nil)
	id, _ := r.pushed("net", `{"plan":{"delta":{"added":1},"phases":{"PLANNING":"10s"}}}`)
	r.advance(4 * time.Second)
	r.must(204, "PUT", "/stacks/net/lock", `{"by":"jane","note":"hands off"}`, nil)
	r.advance(6 * time.Second)
	r.is("net", id, "UNCONFIRMED")
	const lock = `query ($id: ID!) { stack(id: $id) { lockedBy lockedAt lockNote } }`
	if got, want := r.ask(lock, map[string]any{"id": "net"}), `{"stack":{"lockedBy":"jane","lockedAt":1767261604,"lockNote":"hands off"}}`; got != want {
		t.Errorf("locked: %s, want %s", got, want)
	}
	var st simulator.StackStatus
	r.must(200, "GET", "/stacks/net", "", &st)
	if st.LockedBy != "jane" || !st.LockedAt.Equal(epoch.Add(4*time.Second)) || st.LockNote != "hands off" || st.Blocker != id {
		t.Errorf("the stack shows %+v", st)
	}
	r.must(204, "DELETE", "/stacks/net/lock", "", nil)
	if got, want := r.ask(lock, map[string]any{"id": "net"}), `{"stack":{"lockedBy":null,"lockedAt":null,"lockNote":null}}`; got != want {
		t.Errorf("unlocked: %s, want %s", got, want)
	}
	r.is("net", id, "UNCONFIRMED") // it waits for a person all the same
}

// Spacelift accepts an act, and nothing comes of it.
func TestActsWithoutEffect(t *testing.T) {
	for field, c := range map[string]struct {
		phases, document, want string
		state                  spacelift.RunState
	}{
		"runConfirm": {"", `mutation ($stack: ID!, $run: ID) { runConfirm(stack: $stack, run: $run, note: "n") { id state } }`, `{"id":"$RUN","state":"CONFIRMED"}`, "UNCONFIRMED"},
		"runDiscard": {"", `mutation ($stack: ID!, $run: ID) { runDiscard(stack: $stack, run: $run) { id state } }`, `{"id":"$RUN","state":"DISCARDED"}`, "UNCONFIRMED"},
		"runTargetedReplan": {
			"", `mutation ($stack: ID!, $run: ID!) { runTargetedReplan(stack: $stack, run: $run, targets: ["a"]) { id state } }`,
			`{"id":"$RUN","state":"REPLAN_REQUESTED"}`, "UNCONFIRMED",
		},
		"runReview": {"", `mutation ($stack: ID!, $run: ID) { runReview(stack: $stack, run: $run, decision: REJECT) { decision } }`, `{"decision":"REJECT"}`, "UNCONFIRMED"},
		"runCancel": {`"QUEUED":"1h"`, `mutation ($stack: ID!, $run: ID!) { runCancel(stack: $stack, run: $run) { id state } }`, `{"id":"$RUN","state":"CANCELED"}`, "QUEUED"},
		"runStop":   {`"PLANNING":"1h"`, `mutation ($stack: ID!, $run: ID!) { runStop(stack: $stack, run: $run) { id state } }`, `{"id":"$RUN","state":"PLANNING"}`, "PLANNING"},
		"runKill":   {`"PLANNING":"1h"`, `mutation ($stack: ID!, $run: ID!) { runKill(stack: $stack, run: $run) { id state } }`, `{"id":"$RUN","state":"STOPPED"}`, "PLANNING"},
	} {
		t.Run(field, func(t *testing.T) {
			r := newRig(t)
			r.must(201, "POST", "/stacks", `{"id":"net","approvals":0}`, nil)
			r.must(201, "POST", "/faults/api", `{"kind":"no-effect","field":"`+field+`","times":1}`, nil)
			id, _ := r.pushed("net", `{"plan":{"delta":{"added":1},"phases":{`+c.phases+`}}}`)
			before := r.get("net", id)
			want := `{"` + field + `":` + strings.ReplaceAll(c.want, "$RUN", string(id)) + `}`
			if got := r.ask(c.document, map[string]any{"stack": "net", "run": id}); got != want {
				t.Errorf("answer %s, want %s", got, want)
			}
			r.advance(time.Minute)
			after := r.get("net", id)
			if r.is("net", id, c.state); len(after.History) != len(before.History) || len(after.Reviews) > 0 || len(after.Metadata) > 0 {
				t.Errorf("the run changed: %+v", after)
			}
			if n := len(r.Mutations(field)); n != 0 {
				t.Errorf("%d acts recorded as carried out", n)
			}
			r.ask(c.document, map[string]any{"stack": "net", "run": id}) // the second has its effect
			r.settle()
			if field != "runReview" && r.get("net", id).State == c.state && field != "runTargetedReplan" {
				t.Errorf("the second had no effect either")
			}
		})
	}
	t.Run("an illegal act stays illegal", func(t *testing.T) {
		r := newRig(t)
		r.must(201, "POST", "/stacks", `{"id":"net"}`, nil)
		r.must(201, "POST", "/faults/api", `{"kind":"no-effect","field":"runConfirm"}`, nil)
		id, _ := r.pushed("net", `{}`)
		r.refused(`mutation ($run: ID!) { runConfirm(stack: "net", run: $run) { state } }`, map[string]any{"run": id})
	})
}

// A confirmation can be answered wrongly exactly so often, before or after it
// has been carried out.
func TestAnswersOfAConfirmationGoWrong(t *testing.T) {
	for name, c := range map[string]struct {
		fault  string
		status int
		errors int
	}{
		"429":              {`"kind":"rate-limited"`, 429, 0},
		"500":              {`"kind":"server-error","status":500`, 500, 0},
		"401":              {`"kind":"unauthorized","status":401`, 401, 1},
		"200 unauthorized": {`"kind":"unauthorized"`, 200, 1},
		"refused":          {`"kind":"refused","message":"no"`, 200, 1},
	} {
		for _, after := range []bool{false, true} {
			t.Run(name+map[bool]string{false: " before", true: " after"}[after], func(t *testing.T) {
				r := newRig(t)
				r.must(201, "POST", "/stacks", `{"id":"net"}`, nil)
				id, _ := r.pushed("net", `{"plan":{"delta":{"added":1}}}`)
				suffix := map[bool]string{true: `,"after":true`}[after]
				r.must(201, "POST", "/faults/api", `{"field":"runConfirm","times":2,`+c.fault+suffix+`}`, nil)
				for i := range 2 {
					a := r.graphql(confirmDocument, confirmArgs(id), nil)
					if a.Status != c.status || len(a.Errors) != c.errors {
						t.Fatalf("answer %d: %+v", i+1, a)
					}
					want := map[bool]spacelift.RunState{false: "UNCONFIRMED", true: "CONFIRMED"}[after]
					if got := r.get("net", id).State; got != want {
						t.Errorf("after answer %d the run is %s, want %s", i+1, got, want)
					}
				}
				a := r.graphql(confirmDocument, confirmArgs(id), nil) // the third is answered as it is
				if refused := len(a.Errors) == 1; a.Status != 200 || refused != after {
					t.Errorf("third answer: %+v", a)
				}
				if n := len(r.Mutations("runConfirm")); n != 1 {
					t.Errorf("%d confirmations carried out, want 1", n)
				}
			})
		}
	}
}

// inBubble plays a story in a bubble of fake time, with a plan that waits for
// its confirmation.
func inBubble(t *testing.T, story func(r *rig, id spacelift.RunID)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, Simulator: simulator.New(simulator.Options{Phases: simulator.Instant()})}
		defer r.Close()
		r.AddAPIKey(simulator.APIKey{ID: "01KEY", Secret: "s3cret"})
		r.must(201, "POST", "/stacks", `{"id":"net"}`, nil)
		id, err := r.Push("net", simulator.Commit{}, twoAdded)
		r.ok(err)
		_, err = r.WaitState(t.Context(), "net", id, "UNCONFIRMED")
		r.ok(err)
		r.graphql(`{ viewer { id } }`, nil, nil)
		story(r, id)
	})
}

// A request hangs until its client gives up.
func TestHangingConfirmation(t *testing.T) {
	for _, after := range []bool{false, true} {
		inBubble(t, func(r *rig, id spacelift.RunID) {
			suffix := map[bool]string{true: `,"after":true`}[after]
			r.must(201, "POST", "/faults/api", `{"kind":"hang","field":"runConfirm","times":1`+suffix+`}`, nil)
			body, err := json.Marshal(map[string]any{"query": confirmDocument, "variables": confirmArgs(id)})
			r.ok(err)
			ctx, giveUp := context.WithTimeout(r.t.Context(), time.Hour)
			defer giveUp()
			req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", strings.NewReader(string(body)))
			req.Header.Set("Authorization", "Bearer "+r.token)
			begun, w := time.Now(), httptest.NewRecorder()
			r.ServeHTTP(w, req)
			if took := time.Since(begun); took != time.Hour || w.Body.Len() > 0 {
				r.t.Errorf("answered after %s: %s", took, w.Body)
			}
			want := map[bool]spacelift.RunState{false: "UNCONFIRMED", true: "FINISHED"}[after]
			r.is("net", id, want)
			last := r.Requests()[len(r.Requests())-1]
			if last.Status != 0 || last.Executed != after || last.Fault != simulator.Hang {
				r.t.Errorf("recorded %+v", last)
			}
		})
	}
}

// The effect is immediate and its answer late.
func TestLateAnswerAfterTheEffect(t *testing.T) {
	inBubble(t, func(r *rig, id spacelift.RunID) {
		r.must(201, "POST", "/faults/api", `{"kind":"slow","field":"runConfirm","delay":"30s","after":true,"times":1}`, nil)
		begun := time.Now()
		if a := r.graphql(confirmDocument, confirmArgs(id), nil); len(a.Errors) > 0 || time.Since(begun) != 30*time.Second {
			r.t.Errorf("answered after %s: %+v", time.Since(begun), a)
		}
		if confirmed := r.get("net", id).History[6]; confirmed.State != "CONFIRMED" || !confirmed.At.Equal(begun) {
			r.t.Errorf("%s %s after the request", confirmed.State, confirmed.At.Sub(begun))
		}
	})
}

// Spacelift's approval policy asks for two reviews: one is not enough, and the
// same person twice is one.
func TestApprovalPolicyOfTwo(t *testing.T) {
	r := newRig(t)
	r.must(201, "POST", "/stacks", `{"id":"net","approvals":2}`, nil)
	id, path := r.pushed("net", `{"plan":{"delta":{"added":1}}}`)
	needs := func() string {
		return r.ask(`query ($run: ID!) { stack(id: "net") { run(id: $run) { needsApproval canConfirm } } }`, map[string]any{"run": id})
	}
	const waiting, ready = `{"stack":{"run":{"needsApproval":true,"canConfirm":false}}}`, `{"stack":{"run":{"needsApproval":false,"canConfirm":true}}}`
	for _, by := range []string{"ann", "ann"} {
		r.must(201, "POST", path+"/approve", `{"by":"`+by+`"}`, nil)
		if got := needs(); got != waiting {
			t.Errorf("after one person's review: %s", got)
		}
		r.refused(confirmDocument, confirmArgs(id))
	}
	r.must(201, "POST", path+"/approve", `{"by":"eve"}`, nil)
	if got := needs(); got != ready {
		t.Errorf("after two people's: %s", got)
	}
	r.ask(confirmDocument, confirmArgs(id))
}

// A dependent whose references have not changed is skipped.
func TestSkippedBecauseReferencesHaveNotChanged(t *testing.T) {
	r := newRig(t)
	r.must(201, "POST", "/stacks", `{"id":"net","autodeploy":true,"plan":{"delta":{"changed":1},"outputs":{"vpc_id":"vpc-1"}}}`, nil)
	r.must(201, "POST", "/stacks", `{"id":"app","autodeploy":true,"plan":{"delta":{"changed":1}}}`, nil)
	r.must(204, "POST", "/stacks/app/dependencies", `{"dependsOn":"net","references":[{"output":"vpc_id","input":"TF_VAR_vpc_id"}]}`, nil)
	for _, want := range []spacelift.RunState{"FINISHED", "SKIPPED"} {
		r.pushed("net", `{}`)
		var runs struct{ Runs []simulator.Run }
		r.must(200, "GET", "/stacks/app/runs", "", &runs)
		last := runs.Runs[len(runs.Runs)-1]
		if last.State != want {
			t.Errorf("the dependent is %s, want %s", last.State, want)
		}
		if note := last.History[len(last.History)-1].Note; want == "SKIPPED" && !strings.Contains(note, "references which have not changed") {
			t.Errorf("note %q", note)
		}
	}
}

func TestDisabledStackAndBlocker(t *testing.T) {
	r := newRig(t)
	r.must(201, "POST", "/stacks", `{"id":"net"}`, nil)
	shown := func() string { return r.ask(`{ stack(id: "net") { isDisabled blocker { id } } }`, nil) }
	id, path := r.pushed("net", `{"plan":{"delta":{"added":1}}}`)
	r.must(204, "PUT", "/stacks/net/settings", `{"disabled":true,"blockerLag":"5s"}`, nil)
	if got, want := shown(), `{"stack":{"isDisabled":true,"blocker":{"id":"`+string(id)+`"}}}`; got != want {
		t.Errorf("the stack is %s, want %s", got, want)
	}
	if got := r.refused(`mutation { runTrigger(stack: "net") { id } }`, nil); got != "stack net is disabled" {
		t.Errorf("refused with %q", got)
	}
	r.must(409, "POST", "/stacks/net/pushes", `{}`, nil)
	r.must(201, "POST", path+"/discard", `{"by":"jane"}`, nil)
	r.must(204, "PUT", "/stacks/net/settings", `{"disabled":false}`, nil)
	next, _ := r.pushed("net", `{}`)
	r.is("net", next, "QUEUED") // the slot is taken a moment longer
	if got, want := shown(), `{"stack":{"isDisabled":false,"blocker":{"id":"`+string(id)+`"}}}`; got != want {
		t.Errorf("the stack is %s, want %s", got, want)
	}
	r.advance(5 * time.Second)
	r.is("net", next, "FINISHED")
}

func TestNonsenseAPIFaults(t *testing.T) {
	r := newRig(t)
	for fault, want := range map[string]string{
		`{"kind":"no-effect"}`:                                   "a fault of kind no-effect needs a field: runConfirm, runDiscard, runCancel, runStop, runKill, runReview, runTargetedReplan",
		`{"kind":"no-effect","field":"stackCreate"}`:             "a fault of kind no-effect needs a field: ",
		`{"kind":"no-effect","field":"runConfirm","after":true}`: "a fault of kind no-effect leaves nothing to happen before the answer",
		`{"kind":"unauthorized","status":403}`:                   "status 403 of an unauthorized answer is neither 200 nor 401",
		`{"kind":"server-error","status":429}`:                   "status 429 of a server error is not within 500 and 599",
		`{"kind":"rate-limited","status":429}`:                   "a fault of kind rate-limited has no status",
		`{"kind":"hang","times":-1}`:                             "a fault can't strike -1 times",
	} {
		var problem struct{ Detail string }
		if got := r.control("POST", "/faults/api", fault, &problem); got != 400 || !strings.Contains(problem.Detail, want) {
			t.Errorf("%s: %d %q, want %q", fault, got, problem.Detail, want)
		}
	}
}
