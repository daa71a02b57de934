package checker

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// fault changes a good history into one that breaks a rule. It returns nil where
// the history has nothing that it could change.
type fault struct {
	name, rule string
	inject     func(*draft) []rec
}

// draft is a copy of a good history that a fault changes.
type draft struct {
	*rapid.T
	records []rec
}

// copyOf returns records that share nothing with the original.
func copyOf(t *rapid.T, records []rec) *draft {
	b, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	d := &draft{T: t}
	if err := json.Unmarshal(b, &d.records); err != nil {
		t.Fatal(err)
	}
	return d
}

// pick draws one of the records that fit, or -1.
func (d *draft) pick(fits func(rec) bool) int {
	var all []int
	for i, r := range d.records {
		if fits(r) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return -1
	}
	return rapid.SampledFrom(all).Draw(d.T, "place")
}

// insert puts a record before another one, in no time.
func (d *draft) insert(i int, r rec) []rec {
	at := d.records[i]
	r.Began, r.Ended, r.At = at.Began, at.Began, at.At.Add(at.Began-at.Ended)
	d.records = slices.Insert(d.records, i, r)
	return d.done()
}

// insertEarly is insert with a while between it and what Gantry did next.
func (d *draft) insertEarly(i int, r rec) []rec {
	for j := i; j < len(d.records); j++ {
		d.records[j].Began += time.Second
		d.records[j].Ended += time.Second
		d.records[j].At = d.records[j].At.Add(time.Second)
	}
	all := d.insert(i, r)
	all[i].Began -= time.Second / 2
	all[i].Ended = all[i].Began
	return all
}

func (d *draft) remove(i int) []rec {
	d.records = slices.Delete(d.records, i, i+1)
	return d.done()
}

func (d *draft) done() []rec {
	for i := range d.records {
		d.records[i].N = i + 1
	}
	return d.records
}

// underFloor reports whether a locked rule is over a stack of the story.
func (d *draft) underFloor() bool {
	return slices.ContainsFunc(d.records, func(r rec) bool { return r.Stack != nil && r.Stack.Space == "production/near" })
}

func mutation(field string) func(rec) bool {
	return func(r rec) bool { return r.Call != nil && mutates(r, field) }
}

// audited reports whether a record is an entry about a request.
func audited(r rec) bool { return r.Audit != nil && r.Audit.RequestID != "" }

func auditedBypass(r rec) bool { return r.Audit != nil && r.Audit.Action == "bypass" }

// inSession reports whether a record is a request of a browser that was taken.
func inSession(r rec) bool {
	return request("decideRun")(r) && r.Request.Session != "" && r.Request.Status == 200
}

// refusedSession reports whether a record is a request of a browser that was not.
func refusedSession(r rec) bool {
	return turnedAwayAt("decideRun")(r) && r.Request.Session != ""
}

// streamed reports whether a record is an event of a stream with a name, that shows a run in
// a state.
func streamed(name, state string) func(rec) bool {
	return func(r rec) bool { return r.Event != nil && r.Event.Name == name && r.Event.State == state }
}

// inCalm keeps what comes after the storm, while somebody follows a stream.
func inCalm(d *draft, fits func(rec) bool) func(rec) bool {
	opened := slices.IndexFunc(d.records, streamed("ready", ""))
	return func(r rec) bool { return opened >= 0 && r.N > opened && fits(r) }
}

func messages(kind string) func(rec) bool {
	return func(r rec) bool { return r.Message != nil && r.Message.Type == kind }
}

// request reports whether a record is a request with an operation from somebody whose
// credentials counted.
func request(operation string) func(rec) bool {
	return func(r rec) bool {
		return r.Request != nil && r.Request.Operation == operation && r.Request.Status != http.StatusUnauthorized
	}
}

func turnedAwayAt(operation string) func(rec) bool {
	return func(r rec) bool { return r.Request != nil && r.Request.Operation == operation && turnedAway(r) }
}

func entering(state string) func(rec) bool {
	return func(r rec) bool { return r.RunState != nil && r.RunState.State == state }
}

// lastView is the view of a run after everything has settled.
func (d *draft) lastView() int {
	settled := slices.IndexFunc(d.records, func(r rec) bool { return r.Phase != nil && r.Phase.Name == history.Settled })
	return d.pick(func(r rec) bool { return request("getRun")(r) && r.N > settled })
}

// change alters what a view shows.
func (d *draft) change(i int, f func(*shown)) []rec {
	v := decode[shown](d.records[i].Request.Answer)
	f(&v)
	d.records[i].Request.Answer = text(v)
	return d.done()
}

// at applies f to the place that was picked, if there is one.
func at(fits func(rec) bool, f func(d *draft, i int) []rec) func(*draft) []rec {
	return func(d *draft) []rec {
		i := d.pick(fits)
		if i < 0 {
			return nil
		}
		return f(d, i)
	}
}

// beforeRead applies f at the read that Gantry did before a mutation.
func beforeRead(field string, f func(d *draft, read int, act rec) []rec) func(*draft) []rec {
	return at(mutation(field), func(d *draft, i int) []rec {
		if i == 0 || d.records[i-1].Call == nil {
			return nil
		}
		return f(d, i-1, d.records[i])
	})
}

// about is a request of a person's about the run of a mutation.
func about(act rec, who, operation string, body any) rec {
	q := &history.Request{Who: who, Operation: operation, Stack: arg(act, "stack"), Run: arg(act, "run"), Status: 200, Path: "/" + operation}
	if body != nil {
		q.Body = text(body)
	}
	return rec{Request: q}
}

func (d *draft) settings(stack string, change func(*history.Stack)) rec {
	for _, r := range slices.Backward(d.records) {
		if r.Stack != nil && r.Stack.Stack == stack {
			s := *r.Stack
			s.Labels = slices.Clone(s.Labels)
			change(&s)
			return rec{Stack: &s}
		}
	}
	panic("no stack " + stack)
}

func relabel(change func([]string) []string) func(d *draft, read int, act rec) []rec {
	return func(d *draft, read int, act rec) []rec {
		return d.insertEarly(read, d.settings(arg(act, "stack"), func(s *history.Stack) { s.Labels = change(s.Labels) }))
	}
}

// freezing declares a freeze of the account before Gantry's read.
func freezing(d *draft, read int, _ rec) []rec {
	return d.insertEarly(read, rec{Request: &history.Request{Who: "ann", Operation: "declareFreeze", Status: 201, Body: text(map[string]any{}), Answer: text(map[string]any{"id": "f2"})}})
}

func TestInjectedFaultsAreFound(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			places := f.places()
			if len(places) == 0 {
				t.Fatal("no story has a place for this fault")
			}
			rapid.Check(t, func(t *rapid.T) {
				name := rapid.SampledFrom(places).Draw(t, "story")
				bad := f.inject(copyOf(t, stories[name]()))
				if bad == nil {
					return
				}
				found := Check(bad)
				if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == f.rule }) {
					t.Fatalf("%s: %s finds nothing; all that was found: %v", name, f.rule, found)
				}
			})
		})
	}
}

// places returns the stories that the fault can change.
func (f fault) places() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(stories)) {
		changed := rapid.Custom(func(t *rapid.T) bool {
			rapid.Bool().Draw(t, "any") // a fault may have no choice, and a generator must make one
			return f.inject(copyOf(t, stories[name]())) != nil
		})
		if slices.ContainsFunc([]int{1, 2, 3, 4}, func(seed int) bool { return changed.Example(seed) }) {
			names = append(names, name)
		}
	}
	return names
}

// A batch in which runs still ended when its time was over says nothing of ends.
func TestWhatStillMovesIsNotStuck(t *testing.T) {
	for _, f := range faults {
		if !slices.Contains(Patient, f.rule) {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				name := rapid.SampledFrom(slices.Sorted(maps.Keys(stories))).Draw(t, "story")
				records := f.inject(copyOf(t, stories[name]()))
				if records == nil {
					return
				}
				for i := range records {
					if p := records[i].Phase; p != nil {
						p.Moving = p.Name == history.Settled
					}
				}
				for _, v := range Check(records) {
					if slices.Contains(Patient, v.Rule) {
						t.Errorf("%s: %s", name, v)
					}
				}
			})
		})
	}
}

var faults = []fault{
	{"an audit log isn't whole", "audit", at(func(r rec) bool { return r.AuditLog != nil }, func(d *draft, i int) []rec {
		d.records[i].AuditLog.Problem = "entry 7 follows another one than it names"
		return d.done()
	})},
	{"an entry of an audit log is missing", "audit", at(audited, func(d *draft, i int) []rec { return d.remove(i) })},
	{"an audit log names somebody else", "audit", at(audited, func(d *draft, i int) []rec {
		d.records[i].Audit.By += "-not"
		return d.done()
	})},
	{"an audit log shows another result", "audit", at(audited, func(d *draft, i int) []rec {
		d.records[i].Audit.Result = "refused"
		return d.done()
	})},
	{"an audit log shows another run", "audit", at(func(r rec) bool { return audited(r) && r.Audit.Run != "" }, func(d *draft, i int) []rec {
		d.records[i].Audit.Run = "another"
		return d.done()
	})},
	{"an audit log invents a decision", "audit", at(func(r rec) bool { return audited(r) && r.Audit.Action == "decideRun" }, func(d *draft, i int) []rec {
		e := *d.records[i].Audit
		e.RequestID = "invented"
		return d.insert(i, rec{Audit: &e})
	})},
	{"a bypass isn't shown", "bypasses", func(d *draft) []rec {
		i := d.lastView()
		if i < 0 || decode[shown](d.records[i].Request.Answer).Bypass == nil {
			return nil
		}
		return d.change(i, func(s *shown) { s.Bypass = nil })
	}},
	{"an approved plan is shown as a bypass", "bypasses", func(d *draft) []rec {
		i := d.lastView()
		if i < 0 || slices.ContainsFunc(d.records, func(r rec) bool { return entering("CONFIRMED")(r) && r.RunState.By != gantry }) {
			return nil
		}
		return d.change(i, func(s *shown) { s.Bypass = &bypass{Reason: "0 of 2 approvals"} })
	}},
	{"nobody is alarmed by a bypass", "alarms", at(messages("run.bypassed"), func(d *draft, i int) []rec { return d.remove(i) })},
	{"the alarm reaches another channel alone", "alarms", at(messages("run.bypassed"), func(d *draft, i int) []rec {
		d.records[i].Message.Channel = "slack"
		return d.done()
	})},
	{"a bypass is not in the audit log", "alarms", at(auditedBypass, func(d *draft, i int) []rec { return d.remove(i) })},
	{"the audit log accuses somebody else of a bypass", "alarms", at(auditedBypass, func(d *draft, i int) []rec {
		d.records[i].Audit.By = "dave"
		return d.done()
	})},
	{"a bypass is not on the timeline", "alarms", func(d *draft) []rec {
		i := d.lastView()
		if i < 0 || decode[shown](d.records[i].Request.Answer).Bypass == nil {
			return nil
		}
		return d.change(i, func(s *shown) { s.Timeline = []entry{{Kind: "event", Summary: "it began"}} })
	}},
	{"the list of bypasses lacks one", "alarms", at(request("listRuns"), func(d *draft, i int) []rec {
		d.records[i].Request.Answer = text(map[string]any{"runs": []shown{}})
		return d.done()
	})},
	{"an alarm accuses Gantry's own act", "alarms", at(entering("CONFIRMED"), func(d *draft, i int) []rec {
		s := d.records[i].RunState
		if s.By != gantry {
			return nil
		}
		return d.insert(i+1, rec{Message: &history.Message{Channel: "deploys", Format: "webhook", ID: "b", Type: "run.bypassed", Stack: s.Stack, Run: s.Run, State: s.State, Signed: true, Status: 200}})
	})},
	{"the audit log shows a bypass that was Gantry's act", "alarms", at(audited, func(d *draft, i int) []rec {
		e := *d.records[i].Audit
		confirmed := slices.IndexFunc(d.records, func(r rec) bool { return entering("CONFIRMED")(r) && r.RunState.By == gantry })
		if confirmed < 0 {
			return nil
		}
		e.Action, e.RequestID, e.Stack, e.Run = "bypass", "", d.records[confirmed].RunState.Stack, d.records[confirmed].RunState.Run
		return d.insert(i, rec{Audit: &e})
	})},
	{"a stack from which the policy was taken is still called enforced", "worth", func(d *draft) []rec {
		i := d.lastView()
		if i < 0 || !slices.ContainsFunc(d.records, func(r rec) bool { return r.Glass != nil }) {
			return nil
		}
		return d.change(i, func(s *shown) { s.Enforcement.Level = "enforced" })
	}},
	{"a plan continues in spite of a policy that was never taken away", "enforced", at(func(r rec) bool { return r.Glass != nil && !r.Glass.Whole }, func(d *draft, i int) []rec { return d.remove(i) })},
	{"a plan continues after the policy was put back", "enforced", at(entering("CONFIRMED"), func(d *draft, i int) []rec {
		plan := slices.IndexFunc(d.records, entering("UNCONFIRMED"))
		if plan < 0 || !slices.ContainsFunc(d.records, func(r rec) bool { return r.Glass != nil }) {
			return nil
		}
		for j := range d.records {
			if g := d.records[j].Glass; g != nil && j > plan {
				g.Whole = true
			}
		}
		return d.done()
	})},
	{"a session counts after its end", "sessions", at(refusedSession, func(d *draft, i int) []rec {
		d.records[i].Request.Status = 200
		return d.done()
	})},
	{"a request with a session that has ended is refused for another reason", "sessions", at(refusedSession, func(d *draft, i int) []rec {
		d.records[i].Request.Status, d.records[i].Request.Problem = 409, "too-late"
		return d.done()
	})},
	{"a live session is refused", "sessions", at(inSession, func(d *draft, i int) []rec {
		d.records[i].Request.Status = 401
		return d.done()
	})},
	{"a revoked token counts", "scopes", at(func(r rec) bool { return turnedAwayAt("decideRun")(r) && r.Request.Session == "" }, func(d *draft, i int) []rec {
		d.records[i].Request.Status = 200
		return d.done()
	})},
	{"an approval counts that came after its token was revoked", "approvals", func(d *draft) []rec {
		given := d.pick(func(r rec) bool { return request("decideRun")(r) && r.Request.Status == 200 })
		revoked := d.pick(func(r rec) bool { return r.Setup != nil && r.N > 2 })
		if given < 0 || revoked < given {
			return nil
		}
		again := d.records[given]
		d.records = slices.Delete(d.records, given, given+1)
		return d.insert(revoked, again)
	}},
	{"a stream loses the end of a run", "streams", func(d *draft) []rec {
		i := slices.IndexFunc(d.records, streamed("run", "FINISHED"))
		if i < 0 {
			return nil
		}
		return d.remove(i)
	}},
	{"a stream never shows an approval", "streams", func(d *draft) []rec {
		i := slices.IndexFunc(d.records, inCalm(d, func(r rec) bool { return request("decideRun")(r) && r.Request.Status == 200 }))
		if i < 0 {
			return nil
		}
		i += slices.IndexFunc(d.records[i:], streamed("run", "UNCONFIRMED"))
		return d.remove(i)
	}},
	{"a stream shows an older form after a newer one", "streams", at(streamed("run", "FINISHED"), func(d *draft, i int) []rec {
		older := *d.records[i].Event
		older.ID, older.State, older.Phase = "20261128T000000.000000Z-0", "UNCONFIRMED", "confirming"
		return d.insert(i+1, rec{Event: &older})
	})},
	{"a stream shows a run as done that continues", "streams", at(streamed("run", "UNCONFIRMED"), func(d *draft, i int) []rec {
		d.records[i].Event.Phase = "done"
		return d.done()
	})},
	{"an id of a stream isn't taken", "streams", at(func(r rec) bool { return streamed(history.Opened, "")(r) && r.Event.ID != "" }, func(d *draft, i int) []rec {
		reset := *d.records[i].Event
		reset.Name = "reset"
		return d.insert(i+1, rec{Event: &reset})
	})},
	{"an event of a stream has no id", "streams", at(streamed("run", "UNCONFIRMED"), func(d *draft, i int) []rec {
		d.records[i].Event.ID = ""
		return d.done()
	})},
	{"a stream outlives its session", "streams", at(streamed(history.Closed, ""), func(d *draft, i int) []rec {
		if d.records[i].Event.Session == "" {
			return nil
		}
		for j := i; j < len(d.records); j++ {
			d.records[j].Began += time.Minute
			d.records[j].Ended += time.Minute
		}
		return d.done()
	})},
	{"a stream shows a stack to somebody without a role", "scopes", at(streamed("run", "UNCONFIRMED"), func(d *draft, i int) []rec {
		for j, p := range d.records[1].Setup.People {
			if p.Name == d.records[i].Event.Reader {
				d.records[1].Setup.People[j].Role, d.records[1].Setup.People[j].Scopes = "", []history.Scope{{Role: "viewer", Stacks: []string{"s2-*"}}}
			}
		}
		return d.done()
	})},
	{"a plan continues without Gantry's review", "enforced", at(func(r rec) bool { return r.Review != nil }, func(d *draft, i int) []rec { return d.remove(i) })},
	{"a plan continues after a rejection by Gantry", "enforced", at(func(r rec) bool { return r.Review != nil }, func(d *draft, i int) []rec {
		d.records[i].Review.Decision = "REJECT"
		return d.done()
	})},
	{"somebody else's review lets a plan continue", "enforced", at(func(r rec) bool { return r.Review != nil }, func(d *draft, i int) []rec {
		d.records[i].Review.Author = "carol"
		return d.done()
	})},
	{"an enforced plan is applied unasked", "enforced", at(entering("UNCONFIRMED"), func(d *draft, i int) []rec {
		if !slices.ContainsFunc(d.records, func(r rec) bool { return r.Review != nil }) {
			return nil
		}
		d.records = slices.DeleteFunc(d.records, func(r rec) bool { return r.Review != nil || entering("UNCONFIRMED")(r) })
		return d.done()
	})},
	{"Gantry reviews a plan that a label holds", "policy", beforeRead("runReview", relabel(func(l []string) []string { return append(l, "gantry:approval=2") }))},
	{"Gantry reviews a plan that nobody approved", "approvals", beforeRead("runReview", relabel(func([]string) []string {
		return []string{"gantry:managed", "gantry:confirm=manual", "gantry:approvals=3"}
	}))},
	{"Gantry reviews a plan during a freeze", "freezes", beforeRead("runReview", freezing)},
	{"Gantry reviews a plan that was rejected", "objections", beforeRead("runReview", func(d *draft, read int, act rec) []rec {
		return d.insertEarly(read, about(act, "bob", "decideRun", map[string]any{"verdict": "reject"}))
	})},
	{"somebody decides whose role doesn't hold for the stack", "scopes", at(request("decideRun"), func(d *draft, i int) []rec {
		for j, p := range d.records[1].Setup.People {
			if p.Name == d.records[i].Request.Who {
				d.records[1].Setup.People[j].Role, d.records[1].Setup.People[j].Scopes = "", []history.Scope{{Role: "approver", Stacks: []string{"s*-c"}}}
			}
		}
		return d.done()
	})},
	{"somebody without the role is refused for another reason", "scopes", at(request("decideRun"), func(d *draft, i int) []rec {
		q := *d.records[i].Request
		q.Who, q.Status, q.Problem, q.ID = "dan", 409, "too-late", "q0"
		d.records[1].Setup.People = append(d.records[1].Setup.People, history.Person{Name: "dan", Role: "operator"})
		return d.insert(i, rec{Request: &q})
	})},
	{"a stranger decides", "scopes", at(request("decideRun"), func(d *draft, i int) []rec {
		for j, p := range d.records[1].Setup.People {
			if p.Name == d.records[i].Request.Who {
				d.records[1].Setup.People[j].Signs = history.Stranger
			}
		}
		return d.done()
	})},
	{"a token that counts is refused", "scopes", at(request("decideRun"), func(d *draft, i int) []rec {
		if d.records[i].Request.Session != "" {
			return nil
		}
		d.records[i].Request.Status = 401
		return d.done()
	})},
	{"a role that holds counts for nothing", "scopes", at(request("decideRun"), func(d *draft, i int) []rec {
		d.records[i].Request.Status, d.records[i].Request.Problem = 403, "forbidden"
		return d.done()
	})},
	{"a list shows a stack to somebody without a role", "scopes", at(request("listStacks"), func(d *draft, i int) []rec {
		for j, p := range d.records[1].Setup.People {
			if p.Name == d.records[i].Request.Who {
				d.records[1].Setup.People[j].Role, d.records[1].Setup.People[j].Scopes = "", []history.Scope{{Role: "viewer", Labels: []string{"team:blue"}}}
			}
		}
		return d.done()
	})},
	{"Gantry names a run that isn't there", "asked-runs", at(request("triggerRun"), func(d *draft, i int) []rec {
		d.records[i].Request.Answer = text(map[string]any{"run": "R77"})
		return d.done()
	})},
	{"Gantry triggers a run that nobody asked for", "asked-runs", at(mutation("runTrigger"), func(d *draft, i int) []rec {
		c := *d.records[i].Call
		c.Metadata = "trigger/acme/again"
		return d.insert(i+1, rec{Call: &c})
	})},
	{"who asked for the run approves it", "approvals", at(func(r rec) bool {
		return request("decideRun")(r) && r.Request.Who == "ann" && decision(r).Verdict == "approve"
	}, func(d *draft, i int) []rec {
		q := d.records[i].Request
		for j := range d.records {
			if s := d.records[j].RunState; s != nil {
				s.Trigger = gantry
			}
		}
		began := slices.IndexFunc(d.records, func(r rec) bool { return entering("QUEUED")(r) && r.RunState.Run == q.Run })
		return d.insert(began+1, rec{Request: &history.Request{Who: "ann", Operation: "triggerRun", Stack: q.Stack, Status: 201, Answer: text(map[string]any{"run": q.Run})}})
	})},
	{"a plan waits for a run that has ended", "current", func(d *draft) []rec {
		i := d.lastView()
		if i < 0 {
			return nil
		}
		for j := range d.records { // the run ends in the calm, a while before
			if p := d.records[j].Phase; p != nil && p.Name == history.Calm {
				d.records[j].Began, d.records[j].Ended = 0, 0
			}
			if j >= i {
				d.records[j].Began += 2 * time.Minute
				d.records[j].Ended += 2 * time.Minute
			}
		}
		q := *d.records[i].Request
		q.Operation, q.Answer = "explainRun", text(map[string]any{"waitingFor": map[string]any{"what": "chain", "reason": "run " + q.Run + " of " + q.Stack + " works on the same commit and has not ended"}})
		return d.insert(i, rec{Request: &q})
	}},
	{"a preview leaves a stack out", "previews", at(request("previewFollowers"), func(d *draft, i int) []rec {
		d.records[i].Request.Answer = text(map[string]any{"followers": []any{}})
		return d.done()
	})},
	{"an expression holds the plan", "policy", func(d *draft) []rec {
		if !slices.ContainsFunc(d.records, func(r rec) bool { return r.Stack != nil && slices.Contains(r.Stack.Labels, "gantry:profile=guarded") }) {
			return nil
		}
		for i := range d.records {
			if s := d.records[i].RunState; s != nil {
				s.Destroys = []string{"aws_kms_key"}
			}
		}
		return d.done()
	}},
	{"an expression leaves the plan to people", "approvals", func(d *draft) []rec {
		if !slices.ContainsFunc(d.records, func(r rec) bool { return r.Stack != nil && slices.Contains(r.Stack.Labels, "gantry:profile=guarded") }) {
			return nil
		}
		for i := range d.records {
			if s := d.records[i].RunState; s != nil && s.Delta != nil {
				s.Delta.Added = 4
			}
		}
		return d.done()
	}},
	{"a check is missing", "fresh-check", beforeRead("runConfirm", func(d *draft, read int, _ rec) []rec { return d.remove(read) })},
	{"a check is old", "fresh-check", at(mutation("runConfirm"), func(d *draft, i int) []rec {
		for j := i; j < len(d.records); j++ {
			d.records[j].Began += 5 * time.Second
			d.records[j].Ended += 5 * time.Second
		}
		return d.done()
	})},
	{"a confirmation is sent again blindly", "fresh-check", at(mutation("runConfirm"), func(d *draft, i int) []rec {
		return d.insert(i+1, rec{Call: d.records[i].Call})
	})},
	{"a confirmation follows another one", "one-confirmation", at(entering("APPLYING"), func(d *draft, i int) []rec {
		s := d.records[i].RunState
		d.insert(i+1, rec{Call: &history.Call{Kind: "mutation", Fields: []string{"runConfirm"}, Arguments: map[string]any{"stack": s.Stack, "run": s.Run}, Actor: gantry, Executed: true, Status: 200}})
		return d.insert(i+1, rec{Call: &history.Call{Kind: "query", Actor: gantry, Executed: true, Status: 200, Runs: []history.RunSeen{{Stack: s.Stack, Run: s.Run, State: s.State}}}})
	})},
	{"the stack isn't managed", "policy", beforeRead("runConfirm", relabel(func([]string) []string { return []string{"env:prod"} }))},
	{"people decide in Spacelift", "policy", func(d *draft) []rec {
		if d.underFloor() || slices.ContainsFunc(d.records, func(r rec) bool { return request("decideRun")(r) && decision(r).Verdict == "revoke" }) {
			return nil // then people decide through Gantry
		}
		return beforeRead("runConfirm", relabel(func([]string) []string { return []string{"gantry:managed"} }))(d)
	}},
	{"a label can't be read", "policy", beforeRead("runConfirm", relabel(func(l []string) []string { return append(l, "gantry:approval=2") }))},
	{"the labels contradict each other", "policy", beforeRead("runConfirm", relabel(func(l []string) []string { return append(l, "gantry:confirm=no-deletes", "gantry:confirm=manual") }))},
	{"an approval is missing", "approvals", at(func(r rec) bool {
		return request("decideRun")(r) && r.Request.Who != "jane" && decision(r).Verdict == "approve"
	}, func(d *draft, i int) []rec {
		return d.remove(i)
	})},
	{"the author approves", "approvals", at(func(r rec) bool { return request("decideRun")(r) && r.Request.Who == "joe" }, func(d *draft, _ int) []rec {
		for i := range d.records {
			if s := d.records[i].RunState; s != nil {
				s.Author = "joe-doe"
			}
		}
		return d.done()
	})},
	{"who triggered the run approves", "approvals", at(func(r rec) bool { return request("decideRun")(r) && r.Request.Who == "ann" }, func(d *draft, _ int) []rec {
		for i := range d.records {
			if s := d.records[i].RunState; s != nil {
				s.Trigger = "ann"
			}
		}
		return d.done()
	})},
	{"another group approves", "approvals", at(func(r rec) bool { return request("decideRun")(r) && r.Request.Who == "joe" }, func(d *draft, i int) []rec {
		d.records[i].Request.Who = "bob"
		return d.done()
	})},
	{"one person approves twice", "approvals", at(func(r rec) bool { return request("decideRun")(r) && r.Request.Who == "joe" }, func(d *draft, i int) []rec {
		d.records[i].Request.Who = "ann"
		return d.done()
	})},
	{"an approval is about another plan", "approvals", at(func(r rec) bool { return request("decideRun")(r) && r.Request.Who == "ann" }, func(d *draft, i int) []rec {
		d.records[i].Request.Body = text(map[string]any{"verdict": "approve", "stateVersion": 2})
		return d.done()
	})},
	{"approvals were asked for", "approvals", beforeRead("runConfirm", relabel(func([]string) []string {
		return []string{"gantry:managed", "gantry:confirm=manual", "gantry:approvals=3"}
	}))},
	{"a locked rule asks for more approvals", "approvals", func(d *draft) []rec {
		if !slices.ContainsFunc(d.records, mutation("runConfirm")) {
			return nil
		}
		for _, r := range d.records {
			if s := r.Setup; s != nil {
				s.Profiles = append(s.Profiles, history.Profile{Name: "strict", Confirm: "manual", Approvals: 3})
				s.Floors = append(s.Floors, history.Floor{Name: "strict", Profile: "strict"})
			}
		}
		return d.done()
	}},
	{"a locked rule of a space above asks for another group", "approvals", func(d *draft) []rec {
		if !d.underFloor() {
			return nil
		}
		d.records[1].Setup.Profiles[2].Approvers = "data"
		return d.done()
	}},
	{"the resources of the plan ask for another group", "approvals", at(func(r rec) bool { return r.RunState != nil && r.RunState.Destroys != nil }, func(d *draft, _ int) []rec {
		d.records[1].Setup.Profiles[1].ApprovalsWhen[0].Group = "data"
		return d.done()
	})},
	{"an approval is revoked", "approvals", func(d *draft) []rec {
		return beforeRead("runConfirm", func(d *draft, read int, act rec) []rec {
			if d.pick(request("decideRun")) < 0 {
				return nil
			}
			return d.insertEarly(read, about(act, "ann", "decideRun", map[string]any{"verdict": "revoke", "stateVersion": 4}))
		})(d)
	}},
	{"the plan was rejected", "objections", beforeRead("runConfirm", func(d *draft, read int, act rec) []rec {
		return d.insertEarly(read, about(act, "bob", "decideRun", map[string]any{"verdict": "reject"}))
	})},
	{"the run was stopped", "objections", beforeRead("runConfirm", func(d *draft, read int, act rec) []rec {
		return d.insertEarly(read, about(act, "bob", "stopRun", nil))
	})},
	{"a freeze is in effect", "freezes", beforeRead("runConfirm", freezing)},
	{"a freeze was not lifted", "freezes", at(request("liftFreeze"), func(d *draft, i int) []rec { return d.remove(i) })},
	{"a window is closed", "windows", at(func(r rec) bool { return r.Setup != nil }, func(d *draft, i int) []rec {
		if slices.IndexFunc(d.records, func(r rec) bool { return r.Stack != nil && slices.Contains(r.Stack.Labels, "gantry:profile=office") }) < 0 {
			return nil
		}
		d.records[i].Setup.Windows[0].Deny = d.records[i].Setup.Windows[0].Allow
		return d.done()
	})},
	{"somebody locked the stack", "brakes", beforeRead("runConfirm", func(d *draft, read int, act rec) []rec {
		return d.insertEarly(read, d.settings(arg(act, "stack"), func(s *history.Stack) { s.LockedBy = "ann" }))
	})},
	{"the stack is disabled when Gantry retries", "brakes", beforeRead("runRetry", func(d *draft, read int, act rec) []rec {
		return d.insertEarly(read, d.settings(arg(act, "stack"), func(s *history.Stack) { s.Disabled = true }))
	})},
	{"the stack is locked when Gantry triggers", "brakes", beforeRead("runTrigger", func(d *draft, read int, act rec) []rec {
		return d.insertEarly(read, d.settings(arg(act, "stack"), func(s *history.Stack) { s.LockedBy = "ann" }))
	})},
	{"a parent has failed", "order", at(func(r rec) bool { return entering("FINISHED")(r) && r.RunState.Stack == "s1-a" }, func(d *draft, i int) []rec {
		if !hasStack(d, "s1-b") {
			return nil
		}
		d.records[i].RunState.State = "FAILED"
		return d.done()
	})},
	{"a parent still works", "order", at(func(r rec) bool { return entering("FINISHED")(r) && r.RunState.Stack == "s1-a" }, func(d *draft, i int) []rec {
		if !hasStack(d, "s1-b") {
			return nil
		}
		return d.remove(i)
	})},
	{"a parent applied after the plan began", "old-plans", at(func(r rec) bool { return mutation("runConfirm")(r) && arg(r, "stack") == "s1-b" }, func(d *draft, i int) []rec {
		j := slices.IndexFunc(d.records, func(r rec) bool { return entering("APPLYING")(r) && r.RunState.Stack == "s1-a" })
		k := slices.IndexFunc(d.records, func(r rec) bool { return entering("FINISHED")(r) && r.RunState.Stack == "s1-a" })
		applying, end := *d.records[j].RunState, *d.records[k].RunState
		applying.Run, end.Run, applying.Commit, end.Commit = "R9", "R9", "c9", "c9"
		for _, s := range []*history.RunState{&end, &applying} {
			d.insertEarly(i-1, rec{RunState: s})
			for range 4 {
				d.insertEarly(i, rec{Usage: &history.Usage{}})
				d.remove(i)
			}
		}
		return d.done()
	})},
	{"a stack applies twice for a commit", "once-per-commit", at(func(r rec) bool { return entering("FINISHED")(r) && r.RunState.Stack == "s1-b" }, func(d *draft, i int) []rec {
		end := d.records[i].RunState
		for _, r := range slices.Clone(d.records[:i+1]) {
			if r.RunState != nil && r.RunState.Run == end.Run {
				again := *r.RunState
				again.Run = "R9"
				d.insert(len(d.records)-1, rec{RunState: &again})
			}
		}
		return d.done()
	})},
	{"a stack is triggered twice in a chain", "triggers", at(func(r rec) bool { return mutation("runTrigger")(r) && strings.HasPrefix(r.Call.Metadata, "chain/") }, func(d *draft, i int) []rec { return d.insert(i+1, rec{Call: d.records[i].Call}) })},
	{"a stack is triggered that has a run", "triggers", at(func(r rec) bool { return entering("FINISHED")(r) && r.RunState.Stack == "s1-a" }, func(d *draft, i int) []rec {
		if !hasStack(d, "s1-b") {
			return nil
		}
		pushed := *d.records[i].RunState
		pushed.Stack, pushed.Run, pushed.State, pushed.Version = "s1-b", "R9", "QUEUED", 0
		return d.insert(i+1, rec{RunState: &pushed})
	})},
	{"a stack is triggered before its parent has finished", "triggers", at(func(r rec) bool { return entering("FINISHED")(r) && r.RunState.Stack == "s1-a" }, func(d *draft, i int) []rec {
		if !hasStack(d, "s1-b") {
			return nil
		}
		return d.remove(i)
	})},
	{"nothing follows", "released", at(func(r rec) bool { return entering("FINISHED")(r) && r.RunState.Stack == "s1-a" }, func(d *draft, i int) []rec {
		if !hasStack(d, "s1-b") {
			return nil
		}
		d.records = slices.DeleteFunc(d.records, func(r rec) bool { return r.RunState != nil && r.RunState.Stack == "s1-b" })
		return d.done()
	})},
	{"an event is dropped", "accepted", at(func(r rec) bool { return r.Delivery != nil && r.Delivery.State == "FINISHED" }, func(d *draft, i int) []rec {
		last := *d.records[i].Delivery
		d.records = slices.Delete(d.records, i, i+1)
		settled := slices.IndexFunc(d.records, func(r rec) bool { return r.Phase != nil && r.Phase.Name == history.Settled })
		d.insert(settled, rec{Delivery: &last})
		d.records[settled].Began -= 10 * time.Second
		d.records[settled].Ended -= 10 * time.Second
		for j := settled; j < len(d.records); j++ {
			if request("getRun")(d.records[j]) && d.records[j].Request.Run == last.Run {
				return d.change(j, func(s *shown) {
					s.Timeline = append(s.Timeline, entry{At: d.records[j].At, Kind: "repair", Summary: "the API shows states that no notification reported: FINISHED (" + strconv.Itoa(last.Version) + ")"})
				})
			}
		}
		return nil
	})},
	{"a repeat is answered otherwise", "keys", at(request("decideRun"), func(d *draft, i int) []rec {
		other := *d.records[i].Request
		other.Status, other.Problem = 409, "already-decided"
		return d.insert(i+1, rec{Request: &other})
	})},
	{"a run is retried for its code", "retries", at(entering("FAILED"), func(d *draft, i int) []rec {
		d.records[i].RunState.Note = "Error: Unsupported argument"
		return d.done()
	})},
	{"a run is retried that a person failed", "retries", at(entering("FAILED"), func(d *draft, i int) []rec {
		d.records[i].RunState.By = "ann"
		return d.done()
	})},
	{"a run is retried that had begun to apply", "retries", at(entering("FAILED"), func(d *draft, i int) []rec {
		applying := *d.records[i].RunState
		applying.State = "APPLYING"
		return d.insert(i, rec{RunState: &applying})
	})},
	{"a run is retried beyond the budget", "retries", beforeRead("runRetry", relabel(func([]string) []string { return []string{"gantry:managed", "gantry:confirm=auto"} }))},
	{"a stopped run is retried", "retries", beforeRead("runRetry", func(d *draft, read int, act rec) []rec {
		return d.insertEarly(read, about(act, "bob", "stopRun", nil))
	})},
	{"a run is retried twice", "retries", at(func(r rec) bool { return entering("QUEUED")(r) && r.RunState.Retried }, func(d *draft, i int) []rec {
		again := *d.records[i].RunState
		again.Run = "R9"
		call := slices.IndexFunc(d.records, mutation("runRetry"))
		d.records[call].Ended = d.records[i].Ended + time.Second
		return d.insert(i+1, rec{RunState: &again})
	})},
	{"a discard has no cause", "acts-have-causes", at(request("decideRun"), func(d *draft, i int) []rec {
		if d.pick(mutation("runDiscard")) < 0 {
			return nil
		}
		return d.remove(i)
	})},
	{"a stop has no cause", "acts-have-causes", at(mutation("runConfirm"), func(d *draft, i int) []rec {
		stop := *d.records[i].Call
		stop.Fields = []string{"runStop"}
		return d.insert(i, rec{Call: &stop})
	})},
	{"a mutation is unknown", "acts-have-causes", at(mutation("runConfirm"), func(d *draft, i int) []rec {
		return d.insert(i, rec{Call: &history.Call{Kind: "mutation", Fields: []string{"stackDelete"}, Actor: gantry}})
	})},
	{"an act isn't recorded", "recorded", func(d *draft) []rec {
		i := d.lastView()
		v := decode[shown](d.records[i].Request.Answer)
		if !slices.ContainsFunc(v.Timeline, func(e entry) bool { return e.Kind == "action" }) {
			return nil
		}
		return d.change(i, func(s *shown) { s.Timeline = nil })
	}},
	{"a refused decision counts", "refusals", at(request("decideRun"), func(d *draft, i int) []rec {
		if decision(d.records[i]).Verdict == "revoke" {
			return nil
		}
		d.records[i].Request.Status, d.records[i].Request.Problem = 409, "too-late"
		return d.done()
	})},
	{"an approval is too late for no reason", "refusals", at(mutation("runConfirm"), func(d *draft, i int) []rec {
		late := about(d.records[i], "bob", "decideRun", map[string]any{"verdict": "approve"})
		late.Request.Status, late.Request.Problem = 409, "urn:gantry:problem:too-late"
		for j := i - 1; j < len(d.records); j++ {
			d.records[j].Began += 400 * time.Second
			d.records[j].Ended += 400 * time.Second
		}
		d.insert(i-1, late)
		for _, k := range []time.Duration{200 * time.Second} {
			d.records[i-1].Began -= k
			d.records[i-1].Ended = d.records[i-1].Began
		}
		calm := rec{Phase: &history.Phase{Name: history.Calm}}
		d.insert(i-1, calm)
		d.records[i-1].Began -= 100 * time.Second
		d.records[i-1].Ended = d.records[i-1].Began
		return slices.DeleteFunc(d.done(), func(r rec) bool { return r.Phase != nil && r.Phase.Name == history.Calm && r.N > i+1 })
	})},
	{"a decision is in nobody's request", "refusals", func(d *draft) []rec {
		return d.change(d.lastView(), func(s *shown) { s.Decisions = append(s.Decisions, decided{By: "eve", Verdict: "approve"}) })
	}},
	{"an answer forgets a decision", "read-your-writes", func(d *draft) []rec {
		i := d.lastView()
		if v := decode[shown](d.records[i].Request.Answer); len(v.Decisions) == 0 {
			return nil
		}
		return d.change(i, func(s *shown) { s.Decisions = nil })
	}},
	{"a list forgets a freeze", "read-your-writes", at(request("liftFreeze"), func(d *draft, i int) []rec {
		return d.insert(i, rec{Request: &history.Request{Operation: "listFreezes", Status: 200, Answer: text(map[string]any{"freezes": []any{}})}})
	})},
	{"an approval counts twice", "linearizable", at(func(r rec) bool { return request("decideRun")(r) && r.Request.Who == "joe" }, func(d *draft, i int) []rec {
		again := *d.records[i].Request
		again.Key = ""
		return d.insertEarly(i+2, rec{Request: &again})
	})},
	{"a revocation takes back nothing", "linearizable", at(func(r rec) bool { return request("decideRun")(r) && r.Request.Who == "jane" }, func(d *draft, i int) []rec {
		never := *d.records[i].Request
		never.Who, never.Key, never.Body = "bob", "", text(map[string]any{"verdict": "revoke", "stateVersion": 4})
		return d.insert(i, rec{Request: &never})
	})},
	{"a key counts for two requests", "keys", at(request("decideRun"), func(d *draft, i int) []rec {
		other := *d.records[i].Request
		other.Body = text(map[string]any{"verdict": "approve", "note": "another"})
		return d.insert(i+1, rec{Request: &other})
	})},
	{"a repeat is refused", "keys", at(request("decideRun"), func(d *draft, i int) []rec {
		other := *d.records[i].Request
		other.Status, other.Problem = 422, "idempotency-key-reused"
		return d.insert(i+1, rec{Request: &other})
	})},
	{"an accepted run is forgotten", "accepted", func(d *draft) []rec {
		i := d.lastView()
		d.records[i].Request.Status = 404
		return d.done()
	}},
	{"an accepted event is not reflected", "accepted", func(d *draft) []rec {
		return d.change(d.lastView(), func(s *shown) { s.State, s.StateVersion = "UNCONFIRMED", 4 })
	}},
	{"a state never was", "truth", at(request("getRun"), func(d *draft, i int) []rec {
		return d.change(i, func(s *shown) { s.State, s.StateVersion = "CANCELED", 99 })
	})},
	{"a forged end is believed", "truth", at(mutation("runConfirm"), func(d *draft, i int) []rec {
		stack, run := arg(d.records[i], "stack"), arg(d.records[i], "run")
		d.insert(i, rec{Request: &history.Request{Operation: "getRun", Status: 200, Stack: stack, Run: run, Answer: text(shown{Stack: stack, Run: run, State: "FAILED", StateVersion: 9, Phase: "done"})}})
		return d.insertEarly(i, rec{Delivery: &history.Delivery{Stack: stack, Run: run, State: "FAILED", Version: 9, Mishap: "forged-end", Status: 202}})
	})},
	{"a run is done too early", "truth", at(mutation("runConfirm"), func(d *draft, i int) []rec {
		stack, run := arg(d.records[i], "stack"), arg(d.records[i], "run")
		return d.insert(i, rec{Request: &history.Request{Operation: "getRun", Status: 200, Stack: stack, Run: run, Answer: text(shown{Stack: stack, Run: run, State: "UNCONFIRMED", StateVersion: 4, Phase: "done"})}})
	})},
	{"an old state is shown", "current", func(d *draft) []rec {
		return d.change(d.lastView(), func(s *shown) { s.State, s.StateVersion, s.Phase = "PLANNING", 3, "planning" })
	}},
	{"a message is early", "messages", at(entering("FINISHED"), func(d *draft, i int) []rec {
		s := d.records[i].RunState
		return d.insertEarly(i, rec{Message: &history.Message{Channel: "x", Format: "webhook", Signed: true, Type: "run.ended", Stack: s.Stack, Run: s.Run, State: s.State}})
	})},
	{"a message isn't signed", "messages", at(func(r rec) bool { return r.Message != nil }, func(d *draft, i int) []rec {
		d.records[i].Message.Signed = false
		return d.done()
	})},
	{"a message comes twice", "messages", at(func(r rec) bool { return r.Message != nil && r.Message.Type == "run.ended" }, func(d *draft, i int) []rec {
		again := *d.records[i].Message
		again.ID = "another"
		return d.insert(i+1, rec{Message: &again})
	})},
	{"a label's problem isn't shown", "labels", at(func(r rec) bool {
		return request("getRun")(r) && decode[shown](r.Request.Answer).Policy[0].Problem != ""
	}, func(d *draft, i int) []rec {
		return d.change(i, func(s *shown) { s.Policy[0].Problem = "" })
	})},
	{"a good label is refused", "labels", func(d *draft) []rec {
		if slices.ContainsFunc(d.records, func(r rec) bool { return r.Stack != nil && slices.Contains(r.Stack.Labels, "gantry:approval=2") }) {
			return nil // a run that has ended may show the rules of then
		}
		return d.change(d.lastView(), func(s *shown) { s.Policy[0].Problem = "what is that?" })
	}},
	{"an authentic notification is refused", "front-door", at(func(r rec) bool { return r.Delivery != nil }, func(d *draft, i int) []rec {
		d.records[i].Delivery.Status = 401
		return d.done()
	})},
	{"another account's notification is accepted", "front-door", at(func(r rec) bool { return r.Delivery != nil }, func(d *draft, i int) []rec {
		d.records[i].Delivery.Mishap = "forged-account"
		return d.done()
	})},
	{"a run never ends", "settled", at(func(r rec) bool { return entering("FINISHED")(r) || entering("DISCARDED")(r) }, func(d *draft, i int) []rec { return d.remove(i) })},
	{"an execution never ends", "executions", at(func(r rec) bool { return r.Execution != nil && r.Execution.Run == "R1" }, func(d *draft, i int) []rec {
		if slices.ContainsFunc(d.records, request("triggerRun")) {
			return nil // it waits for a chain that may own it
		}
		d.records[i].Execution.Status = "Running"
		return d.done()
	})},
	{"an execution fails", "executions", at(func(r rec) bool { return r.Execution != nil }, func(d *draft, i int) []rec {
		d.records[i].Execution.Status = "Failed"
		return d.done()
	})},
	{"an answer doesn't fit the contract", "contract", at(func(r rec) bool { return r.Request != nil }, func(d *draft, i int) []rec {
		d.records[i].Request.Contract = "property phase is missing"
		return d.done()
	})},
	{"an execution grows without bound", "budgets", at(func(r rec) bool { return r.Execution != nil }, func(d *draft, i int) []rec {
		d.records[i].Execution.Events = 50_000
		return d.done()
	})},
	{"a process needs ever more memory", "budgets", at(func(r rec) bool { return r.Usage != nil }, func(d *draft, i int) []rec {
		d.records[i].Usage.RSS = 300_000_000
		return d.done()
	})},
	{"Gantry calls without end", "budgets", at(mutation("runConfirm"), func(d *draft, i int) []rec {
		for range 3_000 {
			d.records = append(d.records, rec{Call: &history.Call{Kind: "query", Actor: gantry, Operation: strconv.Itoa(i)}, Ended: d.records[len(d.records)-1].Ended})
		}
		return d.done()
	})},
}

func hasStack(d *draft, id string) bool {
	return slices.ContainsFunc(d.records, func(r rec) bool { return r.Stack != nil && r.Stack.Stack == id })
}
