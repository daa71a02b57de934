package checker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

const gantry = "api::gantry"

// story writes a history by hand: a Gantry that does everything right.
type story struct {
	now     time.Duration
	records []rec
	ids     int
	runs    []*tale
	audit   []history.Audit
	reading []string // ids with which a reader of the event stream came
	last    string   // id of the event that it received last
	// destroys are types of resources that plans delete from now on.
	destroys []string
}

// tale is a run of a story.
type tale struct {
	stack, id, commit, author, trigger, typ string
	retried                                 bool
	version                                 int
	state                                   string
	delta                                   *history.Delta
	decisions                               []decided
	timeline                                []entry
	labels                                  []string
	problem                                 string
	followers                               []string
	chains                                  []begunBy
	bypass                                  *bypass
	enforcement                             *worth
}

func newStory() *story {
	s := &story{}
	s.add(0, rec{Batch: &history.Batch{Seed: 1, Schedules: 1, Account: "acme", Actor: gantry, Reconcile: 2 * time.Second, Poll: time.Second, Replicas: []string{"one"}, Enforced: []string{"enforced"}}})
	s.add(0, rec{Setup: &history.Setup{
		Profiles: []history.Profile{
			{Name: "office", Confirm: "auto", Windows: []string{"day"}},
			{Name: "databases", Confirm: "auto", Approvals: 1, Approvers: "platform", ApprovalsWhen: []history.ApprovalWhen{history.WhenDestroyed("aws_db_instance", 1, "platform")}},
			{Name: "floor", Confirm: "manual", Approvals: 2, Approvers: "platform"},
			{Name: "guarded", ConfirmBelow: 4, HoldsDestroying: "aws_kms_key", Approvals: 1},
		},
		Floors:   []history.Floor{{Name: "floor", Spaces: []string{"production"}, Profile: "floor"}},
		Windows:  []history.Window{{Name: "day", Allow: []history.Period{{Start: wallStart.Add(-time.Hour), End: wallStart.Add(time.Hour)}}}},
		Channels: []string{"deploys"},
		People: []history.Person{
			{Name: "jane", Role: "approver", Groups: []string{"platform"}},
			{Name: "joe", Role: "approver", Groups: []string{"platform"}, Aliases: []string{"joe-doe"}},
			{Name: "ann", Role: "admin", Groups: []string{"platform"}},
			{Name: "bob", Role: "approver", Groups: []string{"data"}},
		},
	}})
	s.add(0, rec{Phase: &history.Phase{Name: history.Storm}})
	return s
}

var wallStart = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// add appends a record that took some time, and returns its place.
func (s *story) add(took time.Duration, r rec) int {
	r.N = len(s.records) + 1
	r.Began, r.Ended = s.now, s.now+took
	r.At = wallStart.Add(r.Ended)
	s.now += took + 10*time.Millisecond
	s.records = append(s.records, r)
	return len(s.records) - 1
}

func (s *story) stack(id string, labels ...string) {
	s.add(0, rec{Stack: &history.Stack{Stack: id, Labels: append([]string{"gantry:managed"}, labels...)}})
}

// in moves the newest stack to a space. Those of "enforced" carry Gantry's policies, and
// a locked rule is over "production".
func (s *story) in(space string) { s.records[len(s.records)-1].Stack.Space = space }

// review has Gantry approve a plan in Spacelift.
func (s *story) review(r *tale) {
	s.read(r)
	i := s.mutate(r, "runReview")
	s.records[i].Call.Arguments["decision"] = "APPROVE"
	s.add(0, rec{Review: &history.Review{Stack: r.stack, Run: r.id, Author: gantry, Decision: "APPROVE", State: r.state}})
}

func (s *story) labels(stack string) []string {
	for _, r := range slices.Backward(s.records) {
		if r.Stack != nil && r.Stack.Stack == stack {
			return r.Stack.Labels
		}
	}
	return nil
}

// push begins a run and leads it to its plan.
func (s *story) push(stack, commit string) *tale {
	s.ids++
	r := &tale{stack: stack, id: fmt.Sprintf("R%d", s.ids), commit: commit, author: "carol", typ: "TRACKED", version: -1, labels: s.labels(stack)}
	s.runs = append(s.runs, r)
	s.begin(r)
	return r
}

func (s *story) begin(r *tale) {
	for _, state := range []string{"QUEUED", "PREPARING", "INITIALIZING", "PLANNING"} {
		s.enter(r, state, "", "")
	}
	r.delta = &history.Delta{Added: 1}
	s.enter(r, "UNCONFIRMED", "", "")
}

func (s *story) enter(r *tale, state, by, note string) {
	r.version++
	r.state = state
	s.add(0, rec{RunState: &history.RunState{
		Stack: r.stack, Run: r.id, Type: r.typ, State: state, Version: r.version, By: by, Note: note, Commit: r.commit,
		Author: r.author, Trigger: r.trigger, Delta: r.delta, Destroys: s.destroys, Retried: r.retried,
	}})
	if by == gantry {
		r.timeline = append(r.timeline, entry{Kind: "action", Summary: "Gantry " + map[string]string{"CONFIRMED": "confirmed", "DISCARDED": "discarded"}[state] + " the plan"})
	}
	s.add(time.Millisecond, rec{Delivery: &history.Delivery{
		ID: fmt.Sprintf("%s-%d", r.id, r.version), Stack: r.stack, Run: r.id, State: state, Version: r.version, Replica: "one", Status: 202,
		Answer: text(receipt{Outcome: "accepted"}),
	}})
}

func text(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// read has Gantry read a run.
func (s *story) read(r *tale) {
	s.add(5*time.Millisecond, rec{Call: &history.Call{
		Kind: "query", Operation: "Run", Fields: []string{"stack"}, Arguments: map[string]any{"id": r.stack}, Actor: gantry, Executed: true, Status: 200,
		Runs:   []history.RunSeen{{Stack: r.stack, Run: r.id, State: r.state, Version: r.version}},
		Stacks: []history.StackSeen{{Stack: r.stack, Labels: s.labels(r.stack)}},
	}})
}

// mutate has Gantry send a mutation about a run.
func (s *story) mutate(r *tale, field string) int {
	return s.add(5*time.Millisecond, rec{Call: &history.Call{
		Kind: "mutation", Operation: field, Fields: []string{field}, Arguments: map[string]any{"stack": r.stack, "run": r.id}, Actor: gantry, Executed: true, Status: 200,
	}})
}

func (s *story) confirm(r *tale) {
	s.read(r)
	s.mutate(r, "runConfirm")
	s.enter(r, "CONFIRMED", gantry, "")
}

// bypassed has somebody confirm a plan in Spacelift, whom Gantry accuses.
func (s *story) bypassed(r *tale, reason string) {
	s.enter(r, "CONFIRMED", "carol", "")
	r.bypass = &bypass{StateVersion: r.version, Reason: reason}
	r.timeline = append(r.timeline, entry{Kind: "bypass", Actor: "carol", Summary: "carol confirmed the plan in Spacelift against the policy in effect"})
	s.message(r, "run.bypassed")
	s.audit = append(s.audit, history.Audit{Process: "one", Sequence: int64(len(s.audit) + 1), By: "carol", Action: "bypass", Stack: r.stack, Run: r.id, Result: "done"})
}

// glass makes or breaks the glass of a space.
func (s *story) glass(space string, whole bool) {
	s.add(0, rec{Glass: &history.Glass{Space: space, Whole: whole, By: "root"}})
}

func (s *story) finish(r *tale) {
	s.enter(r, "APPLYING", "", "")
	s.enter(r, "FINISHED", "", "")
	s.message(r, "run.ended")
}

func (s *story) discard(r *tale) {
	s.read(r)
	s.mutate(r, "runDiscard")
	s.enter(r, "DISCARDED", gantry, "")
}

func (s *story) message(r *tale, kind string) {
	s.add(0, rec{Message: &history.Message{
		Channel: "deploys", Format: "webhook", ID: fmt.Sprintf("%s-%s-%d", kind, r.id, r.version), Type: kind, Stack: r.stack, Run: r.id, State: r.state, Signed: true, Status: 200,
	}})
}

// ask sends a request about a run to Gantry.
func (s *story) ask(r *tale, who, operation, key string, body any, status int, answer any) int {
	q := &history.Request{
		Replica: "one", Who: who, Operation: operation, Method: "POST", Path: "/v1/" + operation + "/" + r.id, Key: key, Stack: r.stack, Run: r.id,
		Status: status, Answer: text(answer),
	}
	if body != nil {
		q.Body = text(body)
	}
	return s.request(q)
}

// request records a request. The audit log has the changes.
func (s *story) request(q *history.Request) int {
	if operation := q.Operation; q.Status == http.StatusUnauthorized {
		q.ID = fmt.Sprintf("q%d", len(s.records))
	} else if q.Method != http.MethodGet && !strings.HasPrefix(operation, "get") && !strings.HasPrefix(operation, "list") {
		q.ID = fmt.Sprintf("q%d", len(s.records))
		e := history.Audit{Process: q.Replica, Sequence: int64(len(s.audit) + 1), By: q.Who, Action: operation, Stack: q.Stack, Run: q.Run, Result: "done", RequestID: q.ID}
		if q.Status >= 400 {
			e.Result = "refused"
		}
		s.audit = append(s.audit, e)
	}
	return s.add(5*time.Millisecond, rec{Request: q})
}

// decide has a person decide about the plan that the run has.
func (s *story) decide(r *tale, who, verdict string) {
	key := fmt.Sprintf("%s-%s-%d", who, verdict, s.now)
	s.ask(r, who, "decideRun", key, map[string]any{"verdict": verdict, "stateVersion": r.version}, 200, r.view())
	switch verdict {
	case "revoke":
		for i := range r.decisions {
			if r.decisions[i].By == who && r.decisions[i].StateVersion == r.version {
				r.decisions[i].Revoked = true
			}
		}
	default:
		r.decisions = append(r.decisions, decided{By: who, Verdict: verdict, StateVersion: r.version})
	}
	s.view(r)
}

func (r *tale) view() shown {
	phase := "planning"
	if ended(r.state) {
		phase = "done"
	}
	return shown{
		Run: r.id, Stack: r.stack, State: r.state, StateVersion: r.version, Phase: phase, Managed: true, Labels: r.labels,
		Followers: r.followers, Chains: r.chains, Policy: []policyValue{{Name: "confirm", Problem: r.problem}}, Decisions: slices.Clone(r.decisions), Timeline: slices.Clone(r.timeline), Bypass: r.bypass, Enforcement: r.enforcement,
	}
}

// view has somebody look at a run.
func (s *story) view(r *tale) { s.ask(r, "ann", "getRun", "", nil, 200, r.view()) }

// approved returns the story of a plan that two people approve, while a third one takes
// an approval back.
func approved(begin func(s *story), release func(s *story, r *tale)) func() []rec {
	return func() []rec {
		s := newStory()
		begin(s)
		r := s.push("s1-a", "c1")
		s.message(r, "run.decision_needed")
		s.decide(r, "jane", "approve")
		s.decide(r, "joe", "approve")
		s.decide(r, "jane", "revoke")
		s.decide(r, "ann", "approve")
		release(s, r)
		s.finish(r)
		return s.end()
	}
}

// broken returns the story of a plan for which somebody takes Gantry's policy away and
// confirms it in Spacelift, after something else.
func broken(before func(s *story, r *tale)) func() []rec {
	return func() []rec {
		s := newStory()
		s.glass("s1-glass", true)
		s.stack("s1-a", "gantry:confirm=manual")
		s.in("s1-glass")
		r := s.push("s1-a", "c1")
		s.read(r)
		r.enforcement = &worth{Level: "enforced"}
		s.view(r)
		before(s, r)
		s.glass("s1-glass", false)
		s.bypassed(r, "0 of 1 approvals")
		s.read(r)
		r.enforcement = &worth{Level: "advisory"}
		s.now += time.Minute
		s.finish(r)
		s.now += time.Minute
		return s.end()
	}
}

// freeze declares a freeze of the account and returns its id.
func (s *story) freeze(who, id string) {
	s.request(&history.Request{
		Replica: "one", Who: who, Operation: "declareFreeze", Method: "POST", Path: "/v1/accounts/acme/freezes", Status: 201,
		Body: text(map[string]any{"reason": "release"}), Answer: text(map[string]any{"id": id}),
	})
}

func (s *story) lift(who, id string) {
	s.request(&history.Request{
		Replica: "one", Who: who, Operation: "liftFreeze", Method: "DELETE", Path: "/v1/accounts/acme/freezes/" + id, Status: 204,
	})
}

// trigger has Gantry trigger a follower for a chain.
func (s *story) trigger(stack, commit string, root *tale) *tale {
	s.add(5*time.Millisecond, rec{Call: &history.Call{
		Kind: "query", Operation: "Stack", Fields: []string{"stack"}, Actor: gantry, Executed: true, Status: 200,
		Stacks: []history.StackSeen{{Stack: stack, Labels: s.labels(stack)}},
	}})
	s.add(5*time.Millisecond, rec{Call: &history.Call{
		Kind: "mutation", Fields: []string{"runTrigger"}, Arguments: map[string]any{"stack": stack, "commitSha": commit}, Actor: gantry, Executed: true, Status: 200,
		Metadata: "chain/acme/" + root.id + " " + stack,
	}})
	s.ids++
	r := &tale{stack: stack, id: fmt.Sprintf("R%d", s.ids), commit: commit, author: "carol", trigger: gantry, typ: "TRACKED", version: -1, labels: s.labels(stack)}
	s.runs = append(s.runs, r)
	s.begin(r)
	return r
}

// browse has a person sign in or out with a browser.
func (s *story) browse(who, operation string) {
	s.request(&history.Request{Replica: "one", Who: who, Session: who + "'s", Operation: operation, Method: "POST", Path: "/" + operation, Status: http.StatusSeeOther})
}

// asked has Gantry trigger a run that a person asks for.
func (s *story) asked(who, key, stack string) *tale {
	began := len(s.records)
	s.add(5*time.Millisecond, rec{Call: &history.Call{
		Kind: "query", Operation: "Stack", Fields: []string{"stack"}, Actor: gantry, Executed: true, Status: 200,
		Stacks: []history.StackSeen{{Stack: stack, Labels: s.labels(stack)}},
	}})
	s.add(5*time.Millisecond, rec{Call: &history.Call{
		Kind: "mutation", Fields: []string{"runTrigger"}, Arguments: map[string]any{"stack": stack}, Actor: gantry, Executed: true, Status: 200, Metadata: "trigger/acme/" + stack,
	}})
	s.ids++
	r := &tale{stack: stack, id: fmt.Sprintf("R%d", s.ids), commit: "c9", author: "carol", trigger: gantry, typ: "TRACKED", version: -1, labels: s.labels(stack)}
	s.runs = append(s.runs, r)
	s.enter(r, "QUEUED", "", "")
	for range 2 { // once more under the key
		i := s.request(&history.Request{
			Replica: "one", Who: who, Operation: "triggerRun", Method: "POST", Path: "/v1/stacks/" + stack + "/runs", Key: key, Stack: stack, Status: 201, Answer: text(map[string]any{"run": r.id}),
		})
		s.records[i].Began = s.records[began].Began
	}
	for _, state := range []string{"PREPARING", "INITIALIZING", "PLANNING"} {
		s.enter(r, state, "", "")
	}
	r.delta = &history.Delta{Added: 1}
	s.enter(r, "UNCONFIRMED", "", "")
	return r
}

// preview shows a person what follows a stack.
func (s *story) preview(who, stack string, followers ...string) {
	var all []map[string]any
	for _, f := range followers {
		all = append(all, map[string]any{"stack": f, "released": true})
	}
	s.request(&history.Request{Replica: "one", Who: who, Operation: "previewFollowers", Method: "GET", Path: "/v1/" + stack + "/followers", Stack: stack, Status: 200, Answer: text(map[string]any{"followers": all})})
}

// retry has Gantry retry a failed run.
func (s *story) retry(of *tale) *tale {
	s.read(of)
	i := s.mutate(of, "runRetry")
	s.ids++
	r := &tale{stack: of.stack, id: fmt.Sprintf("R%d", s.ids), commit: of.commit, author: of.author, trigger: gantry, typ: of.typ, retried: true, version: -1, labels: s.labels(of.stack)}
	s.runs = append(s.runs, r)
	s.begin(r)
	for j := i + 1; j < len(s.records); j++ { // the mutation lasts until its run has begun
		if s.records[j].RunState != nil {
			s.records[i].Ended = s.records[j].Ended
			break
		}
	}
	return r
}

// calm ends the storm, and lets a while pass.
func (s *story) calm() {
	s.add(0, rec{Phase: &history.Phase{Name: history.Calm}})
	s.now += 30 * time.Second
}

// stream has a reader of the event stream receive something, with the form of a run if there is one.
func (s *story) stream(name string, r *tale) {
	if name == history.Opened {
		s.reading = append(s.reading, s.last)
	}
	s.ids++
	e := &history.Event{Reader: "bob", Connection: len(s.reading), Replica: []string{"one", "two"}[len(s.reading)%2], Name: name, Status: 200}
	switch name {
	case history.Opened:
		e.ID = s.last
	case history.Closed:
	default:
		e.ID = fmt.Sprintf("20261129T%012d.000000Z-%d", s.now, s.ids)
		s.last = e.ID
	}
	if r != nil {
		e.Stack, e.Run, e.State, e.Phase = r.stack, r.id, r.state, r.view().Phase
	}
	s.add(0, rec{Event: e})
}

// end calms and settles the story.
func (s *story) end() []rec {
	if !slices.ContainsFunc(s.records, func(r rec) bool { return r.Phase != nil && r.Phase.Name == history.Calm }) {
		s.calm()
	}
	if n := len(s.reading); n > 0 {
		s.now += 15 * time.Second
		s.stream(history.Closed, nil)
	}
	s.add(0, rec{Usage: &history.Usage{Name: "one", RSS: 120_000_000}})
	s.add(0, rec{Phase: &history.Phase{Name: history.Settled}})
	for _, r := range s.runs {
		s.view(r)
		if r.bypass != nil {
			s.request(&history.Request{Replica: "one", Who: "ann", Operation: "listRuns", Method: "GET", Path: "/v1/runs?bypassed=true", Status: 200, Answer: text(map[string]any{"runs": []shown{{Stack: r.stack, Run: r.id}}})})
		}
		s.add(0, rec{Execution: &history.Execution{ID: "run/acme/" + r.stack + "/" + r.id, Type: "ManageRun", Status: "Completed", Stack: r.stack, Run: r.id, Events: 60, Bytes: 9_000}})
	}
	for _, e := range s.audit {
		s.add(0, rec{Audit: &e})
	}
	s.add(0, rec{AuditLog: &history.AuditLog{Process: "one"}})
	return s.records
}

// The stories, each of which a good Gantry can live.
var stories = map[string]func() []rec{
	"a plan that Gantry confirms alone": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto")
		r := s.push("s1-a", "c1")
		s.confirm(r)
		s.finish(r)
		return s.end()
	},
	"a plan that somebody confirms in Spacelift": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=manual", "gantry:approvals=2")
		r := s.push("s1-a", "c1")
		s.message(r, "run.decision_needed")
		s.bypassed(r, "0 of 2 approvals")
		s.finish(r)
		return s.end()
	},
	"a plan for which somebody breaks the glass": broken(func(*story, *tale) {}),
	"the same in spite of a freeze":              broken(func(s *story, _ *tale) { s.freeze("ann", "f1") }),
	"the same in spite of a rejection":           broken(func(s *story, r *tale) { s.decide(r, "jane", "reject") }),
	"a plan that two people approve": approved(func(s *story) {
		s.stack("s1-a", "gantry:confirm=manual", "gantry:approvals=2", "gantry:approvers=platform")
	}, (*story).confirm),
	"an enforced plan that two people approve": approved(func(s *story) {
		s.stack("s1-a", "gantry:confirm=manual", "gantry:approvals=2", "gantry:approvers=platform")
		s.in("enforced")
	}, func(s *story, r *tale) {
		s.review(r)
		s.confirm(r)
	}),
	"a plan that a locked rule leaves to two people": approved(func(s *story) {
		s.stack("s1-a", "gantry:confirm=auto")
		s.in("production/near")
	}, (*story).confirm),
	"a plan whose resources ask for somebody besides": approved(func(s *story) {
		s.stack("s1-a", "gantry:confirm=auto", "gantry:profile=databases")
		s.destroys = []string{"aws_iam_user", "aws_db_instance"}
	}, (*story).confirm),
	"a plan that is made anew while Gantry confirms the one before": approved(func(s *story) {
		s.stack("s1-a", "gantry:confirm=manual", "gantry:approvals=2", "gantry:approvers=platform")
	}, func(s *story, r *tale) {
		s.read(r)
		s.enter(r, "REPLAN_REQUESTED", "carol", "")
		s.enter(r, "UNCONFIRMED", "", "")
		s.mutate(r, "runConfirm")
		s.enter(r, "CONFIRMED", gantry, "")
	}),
	"an enforced plan that people confirm in Spacelift": func() []rec {
		s := newStory()
		s.stack("s1-a")
		s.in("enforced")
		r := s.push("s1-a", "c1")
		s.review(r)
		s.enter(r, "CONFIRMED", "carol", "")
		s.finish(r)
		return s.end()
	},
	"a plan that somebody rejects": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=manual")
		r := s.push("s1-a", "c1")
		s.decide(r, "jane", "reject")
		s.discard(r)
		return s.end()
	},
	"a person who signs out of a browser": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=manual")
		s.browse("ann", history.SignIn)
		r := s.push("s1-a", "c1")
		s.decide(r, "ann", "approve")
		s.records[len(s.records)-2].Request.Session = "ann's"
		s.browse("ann", history.SignOut)
		for _, replica := range []string{"one", "two"} {
			i := s.ask(r, "ann", "decideRun", "", map[string]any{"verdict": "reject"}, 401, map[string]any{})
			s.records[i].Request.Session, s.records[i].Request.Replica = "ann's", replica
		}
		s.confirm(r)
		s.finish(r)
		return s.end()
	},
	"a person whose token is revoked": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=manual", "gantry:approvals=2")
		s.browse("jane", history.SignIn)
		r := s.push("s1-a", "c1")
		s.decide(r, "jane", "approve")
		s.records[len(s.records)-2].Request.Session = "jane's"
		now := *s.records[1].Setup
		now.People = slices.Clone(now.People)
		now.People[0].Revoked = true
		s.add(time.Second, rec{Setup: &now})
		for _, session := range []string{"", "jane's"} {
			i := s.ask(r, "jane", "decideRun", "", map[string]any{"verdict": "reject"}, 401, map[string]any{})
			s.records[i].Request.Session = session
		}
		s.decide(r, "ann", "approve")
		s.confirm(r)
		s.finish(r)
		return s.end()
	},
	"somebody who follows the event stream": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=manual")
		s.calm()
		s.stream(history.Opened, nil)
		s.stream("ready", nil)
		r := s.push("s1-a", "c1")
		s.stream("run", r)
		s.decide(r, "ann", "approve")
		s.stream("run", r)
		s.now += 10 * time.Second
		s.stream(history.Closed, nil)
		s.confirm(r)
		s.finish(r)
		s.stream(history.Opened, nil)
		s.stream("run", r)
		return s.end()
	},
	"somebody who signs out while a stream is open": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto")
		s.browse("bob", history.SignIn)
		s.stream(history.Opened, nil)
		r := s.push("s1-a", "c1")
		s.stream("run", r)
		s.browse("bob", history.SignOut)
		s.confirm(r)
		s.finish(r)
		s.now += 20 * time.Second
		s.stream(history.Closed, nil)
		for i := range s.records {
			if e := s.records[i].Event; e != nil {
				e.Session, e.Replica = "bob's", "one"
			}
		}
		s.reading = nil
		return s.end()
	},
	"a freeze that is lifted": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto")
		s.freeze("ann", "f1")
		r := s.push("s1-a", "c1")
		s.lift("ann", "f1")
		s.confirm(r)
		s.finish(r)
		return s.end()
	},
	"a label that is mended": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto", "gantry:approval=2")
		r := s.push("s1-a", "c1")
		r.problem = "there is no such label"
		s.view(r)
		s.stack("s1-a", "gantry:confirm=auto")
		s.now += 20 * time.Second
		r.problem, r.labels = "", s.labels("s1-a")
		s.confirm(r)
		s.finish(r)
		return s.end()
	},
	"a window that is open": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:profile=office")
		r := s.push("s1-a", "c1")
		s.confirm(r)
		s.finish(r)
		return s.end()
	},
	"a chain": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto")
		s.stack("s1-b", "gantry:confirm=auto", "gantry:after=s1-a")
		s.now += 20 * time.Second // the order is known for a while
		s.preview("ann", "s1-a", "s1-b")
		root := s.push("s1-a", "c1")
		root.followers = []string{"s1-b"}
		s.confirm(root)
		s.finish(root)
		s.now += 5 * time.Second
		r := s.trigger("s1-b", "c1", root)
		s.confirm(r)
		s.finish(r)
		return s.end()
	},
	"a run that somebody asks for": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto")
		r := s.asked("ann", "k1", "s1-a")
		s.confirm(r)
		s.finish(r)
		s.request(&history.Request{Replica: "one", Who: "bob", Operation: "listStacks", Method: "GET", Path: "/v1/stacks", Status: 200, Answer: text(map[string]any{"stacks": []map[string]any{{"stack": "s1-a"}}})})
		return s.end()
	},
	"a plan below the number of an expression": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:profile=guarded")
		r := s.push("s1-a", "c1")
		s.confirm(r)
		s.finish(r)
		return s.end()
	},
	"a retry": func() []rec {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto", "gantry:retries=1")
		r := s.push("s1-a", "c1")
		s.enter(r, "FAILED", "", "dial tcp: connection refused")
		again := s.retry(r)
		s.confirm(again)
		s.finish(again)
		return s.end()
	},
}
