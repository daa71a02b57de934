package checker

import (
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

func TestGoodHistoriesPass(t *testing.T) {
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			for _, v := range Check(story()) {
				t.Error(v)
			}
		})
	}
}

// An answer that shows what a confirmation did, and that was asked for before it,
// accuses nobody.
func TestAnAnswerThatCameAfterTheActIsNoWarning(t *testing.T) {
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			records := story()
			for i := len(records) - 1; i > 0; i-- {
				act, read := records[i], records[i-1]
				if act.Call == nil || !mutates(act, "runConfirm") || read.Call == nil {
					continue
				}
				late := *read.Call
				late.Runs = slices.Clone(late.Runs)
				late.Runs[0].State = "PREPARING_APPLY"
				read.Call, read.Ended = &late, act.Began+10*time.Millisecond
				records = slices.Insert(records, i+1, read)
			}
			for i := range records {
				records[i].N = i + 1
			}
			for _, v := range Check(records) {
				t.Error(v)
			}
		})
	}
}

// A list that was asked for before an act and came after the read that follows it takes
// nothing away from that read.
func TestAListThatTakesLongerThanAReadIsNoMissingCheck(t *testing.T) {
	records := stories["an enforced plan that two people approve"]()
	review, confirm := slices.IndexFunc(records, mutation("runReview")), slices.IndexFunc(records, mutation("runConfirm"))
	list := records[confirm-1]
	list.Began, list.Ended = records[review].Began-time.Millisecond, records[confirm-1].Ended+time.Millisecond
	records = slices.Insert(records, confirm, list)
	for i := range records {
		records[i].N = i + 1
	}
	for _, v := range Check(records) {
		t.Error(v)
	}
}

// Spacelift may refuse what somebody asked for; then nobody else asked.
func TestARetryThatSpaceliftRefusesIsSomebodysWish(t *testing.T) {
	for asked, want := range map[bool]int{true: 0, false: 1} {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto")
		r := s.push("s1-a", "c1")
		s.enter(r, "FAILED", "", "AccessDenied: not authorized")
		s.message(r, "run.failed")
		began := s.now
		s.read(r)
		call := s.records[s.mutate(r, "runRetry")].Call
		call.Executed, call.Status, call.Errors = false, http.StatusUnauthorized, []string{"unauthorized"}
		if asked {
			i := s.ask(r, "ann", "retryRun", "", nil, http.StatusConflict, nil)
			s.records[i].Request.Problem, s.records[i].Began = "urn:gantry:problem:retry-refused", began
		}
		found := slices.DeleteFunc(Check(s.end()), func(v Violation) bool { return v.Rule != "retries" })
		if len(found) != want {
			t.Errorf("asked %t: %v", asked, found)
		}
	}
}

// Two attempts at one act can overlap when Temporal gives up the first: the second has
// read the run before the first had an effect.
func TestAttemptsThatOverlapAccuseNobody(t *testing.T) {
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			records := story()
			i := slices.IndexFunc(records, mutation("runConfirm"))
			if i < 1 || records[i-1].Call == nil {
				t.Skip("nothing is confirmed")
			}
			for j := i; j < len(records); j++ {
				records[j].Ended += 2 * time.Second
				if j > i {
					records[j].Began += 2 * time.Second
				}
			}
			read, again := records[i-1], records[i]
			read.Began, read.Ended = records[i].Began+100*time.Millisecond, records[i].Began+200*time.Millisecond
			again.Began, again.Ended = records[i].Ended+time.Millisecond, records[i].Ended+2*time.Millisecond
			blindly := func(v Violation) bool { return v.Rule == "fresh-check" }
			for attempts, want := range map[string]bool{"of their own": false, "of one": true} {
				overlapping := slices.Insert(slices.Clone(records), i+1, again)
				if attempts == "of their own" {
					overlapping = slices.Insert(overlapping, i, read)
				}
				for j := range overlapping {
					overlapping[j].N = j + 1
				}
				if found := Check(overlapping); slices.ContainsFunc(found, blindly) != want {
					t.Errorf("with a reading %s: %v", attempts, found)
				}
			}
		})
	}
}

// A request that is still under way is answered with 202. Its repeat reads the result,
// which may be a refusal.
func TestARepeatMayReadARefusal(t *testing.T) {
	asks := func(status int) rec {
		return rec{Request: &history.Request{Operation: "triggerRun", Method: "POST", Path: "/v1/stacks/app/runs", Who: "ann", Key: "k", Stack: "app", Status: status}}
	}
	for first, want := range map[int]bool{202: false, 201: true} {
		found := Check([]rec{{N: 1}, asks(first), asks(409)})
		if got := slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == "keys" }); got != want {
			t.Errorf("a refusal after %d: %v", first, found)
		}
	}
}

// A machine that is twenty times slower than an idle one accuses nobody of being slow.
func TestASlowMachineAccusesNobody(t *testing.T) {
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			at := slices.IndexFunc(story(), mutation("runConfirm"))
			if at < 0 {
				t.Skip("nothing is confirmed")
			}
			late := func(slowdown float64) []Violation {
				records := story()
				began := records[at].Began
				for j := at; j < len(records); j++ {
					records[j].Began += 5 * time.Second
					records[j].Ended += 5 * time.Second
				}
				records = slices.Insert(records, at, rec{Began: began, Ended: began + time.Second, Machine: &history.Machine{Slowdown: slowdown}})
				for j := range records {
					records[j].N = j + 1
				}
				return slices.DeleteFunc(Check(records), func(v Violation) bool { return v.Rule != "fresh-check" })
			}
			if len(late(1)) == 0 {
				t.Error("nothing is found on an idle machine")
			}
			if found := late(20); len(found) > 0 {
				t.Errorf("on a slow machine: %v", found)
			}
		})
	}
}

// A rejection is about the plan that Gantry knew when it came: one that came before a
// replan leaves the plan that follows to people, even if it was answered after that.
func TestARejectionIsAboutThePlanThereWas(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=manual")
		r := s.push("s1-a", "c1")
		sent := s.now
		for _, state := range []string{"REPLAN_REQUESTED", "PREPARING_REPLAN", "PLANNING", "UNCONFIRMED"} {
			s.enter(r, state, "", "")
		}
		r.decisions = append(r.decisions, decided{By: "joe", Verdict: "reject", StateVersion: map[bool]int{false: 4, true: 8}[late]})
		i := s.ask(r, "joe", "decideRun", "", map[string]any{"verdict": "reject"}, 200, r.view())
		if !late {
			s.records[i].Began = sent
		}
		s.decide(r, "ann", "approve")
		s.confirm(r)
		s.finish(r)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "objections" }); found != late {
			t.Errorf("a rejection that was sent after the replan: %t; a broken promise: %t", late, found)
		}
	}
}

// A list that Reconcile reads between the check of a plan and its confirmation may be
// another process's; a reading of the run isn't.
func TestAListIsNoReadingOfTheRun(t *testing.T) {
	for version, broken := range map[int]bool{-1: false, 5: true} {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto")
		r := s.push("s1-a", "c1")
		s.read(r)
		s.add(5*time.Millisecond, rec{Call: &history.Call{
			Kind: "query", Operation: "SearchRuns", Fields: []string{"searchRuns"}, Actor: gantry, Executed: true, Status: 200,
			Runs: []history.RunSeen{{Stack: r.stack, Run: r.id, State: "CONFIRMED", Version: version}},
		}})
		s.mutate(r, "runConfirm")
		s.enter(r, "CONFIRMED", gantry, "")
		s.finish(r)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "one-confirmation" }); found != broken {
			t.Errorf("a run that is shown with the version %d: a broken promise: %t", version, found)
		}
	}
}

// A revocation leaves the plan to people, whatever the labels say later: Gantry confirms it
// once somebody else approves.
func TestARevocationLeavesThePlanToPeople(t *testing.T) {
	for _, approves := range []bool{false, true} {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=manual")
		r := s.push("s1-a", "c1")
		s.decide(r, "joe", "approve")
		s.decide(r, "joe", "revoke")
		s.stack("s1-a")
		r.labels = s.labels("s1-a")
		s.now += time.Minute
		if approves {
			s.decide(r, "ann", "approve")
		}
		s.confirm(r)
		s.finish(r)
		broken := slices.DeleteFunc(Check(s.end()), func(v Violation) bool { return v.Rule != "policy" && v.Rule != "approvals" })
		if (len(broken) == 0) != approves {
			t.Errorf("somebody else approved: %t; broken promises: %v", approves, broken)
		}
	}
}

// A refusal leaves the key free: a repeat whose answer got lost may have counted.
func TestARepeatOfARefusedDecisionMayCount(t *testing.T) {
	for status, broken := range map[int]bool{0: false, 404: true} {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=manual")
		r := s.push("s1-a", "c1")
		approves := map[string]any{"verdict": "approve", "stateVersion": r.version}
		s.ask(r, "joe", "decideRun", "k1", approves, 404, nil)
		s.ask(r, "joe", "decideRun", "k1", approves, status, nil)
		r.decisions = append(r.decisions, decided{By: "joe", Verdict: "approve", StateVersion: r.version})
		s.view(r)
		s.confirm(r)
		s.finish(r)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "linearizable" }); found != broken {
			t.Errorf("a repeat that is answered %d: a broken promise: %t", status, found)
		}
	}
}

// An objection that may have arrived excuses what people decide in Spacelift, and accuses
// nobody of acting without them.
func TestAnObjectionThatMayHaveArrivedAccusesNobody(t *testing.T) {
	for status, broken := range map[int]bool{0: false, 200: true} {
		s := newStory()
		s.stack("s1-a")
		s.in("enforced")
		r := s.push("s1-a", "c1")
		s.ask(r, "joe", "decideRun", "", map[string]any{"verdict": "revoke", "stateVersion": r.version}, status, nil)
		s.review(r)
		s.enter(r, "CONFIRMED", "carol", "")
		s.finish(r)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "approvals" }); found != broken {
			t.Errorf("an objection that is answered %d: a broken promise: %t", status, found)
		}
	}
}

// A notification may take as long to reach its execution as decisions take meanwhile.
func TestSignalsMayTakeAsLongAsDecisions(t *testing.T) {
	for _, slow := range []bool{false, true} {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto")
		r := s.push("s1-a", "c1")
		s.calm()
		s.now += time.Minute
		s.confirm(r)
		s.finish(r)
		began := s.now
		s.now += 8 * time.Second
		r.timeline = append(r.timeline, entry{At: wallStart.Add(s.now), Kind: "repair", Summary: "the API shows states that no notification reported: FINISHED (" + strconv.Itoa(r.version) + ")"})
		if slow {
			s.request(&history.Request{Replica: "one", Who: "ann", Operation: "declareFreeze", Method: "POST", Path: "/v1/accounts/acme/freezes", Status: 409})
			s.records[len(s.records)-1].Began = began
		}
		s.now += time.Minute
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "accepted" }); found == slow {
			t.Errorf("decisions were slow: %t; a broken promise: %t", slow, found)
		}
	}
}

// The answer about a run that has ended names what was enforced while it was open.
func TestWhatWasEnforcedStays(t *testing.T) {
	for _, open := range []bool{false, true} {
		s := newStory()
		s.glass("s1-glass", true)
		s.stack("s1-a", "gantry:confirm=auto")
		s.in("s1-glass")
		r := s.push("s1-a", "c1")
		r.enforcement = &worth{Level: "enforced"}
		if open {
			s.glass("s1-glass", false)
		}
		s.review(r)
		s.confirm(r)
		s.finish(r)
		s.glass("s1-glass", false)
		s.read(r)
		s.now += time.Minute
		s.view(r)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "worth" }); found != open {
			t.Errorf("the run was open when it was read: %t; a broken promise: %t", open, found)
		}
	}
}

// A decision whose answer got lost may have counted, though its repeat came with a token
// that was revoked meanwhile.
func TestARepeatWithARevokedTokenSaysNothing(t *testing.T) {
	for status, broken := range map[int]bool{401: false, 403: true} {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=manual")
		r := s.push("s1-a", "c1")
		approves := map[string]any{"verdict": "approve", "stateVersion": r.version}
		s.ask(r, "joe", "decideRun", "k1", approves, 0, nil)
		r.decisions = append(r.decisions, decided{By: "joe", Verdict: "approve", StateVersion: r.version})
		s.ask(r, "joe", "decideRun", "k1", approves, status, nil)
		s.view(r)
		s.confirm(r)
		s.finish(r)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "linearizable" }); found != broken {
			t.Errorf("a repeat that is answered %d: a broken promise: %t", status, found)
		}
	}
}

// A refusal that names no plan may be about a forged one.
func TestARefusalMayBeAboutAForgedPlan(t *testing.T) {
	for _, forged := range []bool{false, true} {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=manual")
		r := s.push("s1-a", "c1")
		if forged {
			r.decisions = append(r.decisions, decided{By: "joe", Verdict: "approve", StateVersion: 9})
			s.view(r)
		}
		i := s.ask(r, "joe", "decideRun", "", map[string]any{"verdict": "approve"}, 409, nil)
		s.records[i].Request.Problem = "urn:gantry:problem:already-decided"
		s.decide(r, "ann", "approve")
		s.confirm(r)
		s.finish(r)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "linearizable" }); found == forged {
			t.Errorf("a plan was forged: %t; a broken promise: %t", forged, found)
		}
	}
}

// TestJudgeKnowsNothingOfTheCode asks the go command what the judge is built from.
func TestJudgeKnowsNothingOfTheCode(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./../model", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		if room, ours := strings.CutPrefix(pkg, "github.com/gantryhq/gantry/"); ours && !strings.HasPrefix(room, "e2e/schedules/") {
			t.Errorf("the judge is built from %s; it may know Gantry's documents alone", pkg)
		}
	}
}

func TestRulesHaveNames(t *testing.T) {
	names := map[string]bool{}
	for _, r := range Rules {
		if names[r.Name] || r.Name == "" || r.Promises == "" {
			t.Errorf("rule %q has no name of its own, or promises nothing", r.Name)
		}
		names[r.Name] = true
	}
	for _, f := range faults {
		if !names[f.rule] {
			t.Errorf("the fault %q names the rule %q, which doesn't exist", f.name, f.rule)
		}
	}
	missing := slices.DeleteFunc(slices.Sorted(maps.Keys(names)), func(n string) bool { return slices.ContainsFunc(faults, func(f fault) bool { return f.rule == n }) })
	if len(missing) > 0 {
		t.Errorf("no injected fault shows that these rules find anything: %v", missing)
	}
}

// A repeat may name what an answer before the end couldn't name yet.
func TestARepeatNamesWhatTheFirstAnswerDidNotKnow(t *testing.T) {
	s := newStory()
	s.stack("s1-a", "gantry:confirm=auto")
	r := s.push("s1-a", "c1")
	s.enter(r, "FAILED", "", "Error: Unsupported argument")
	s.ask(r, "ann", "retryRun", "k1", nil, 202, map[string]any{"run": r.id})
	again := s.retry(r)
	for range 2 {
		s.ask(r, "ann", "retryRun", "k1", nil, 200, map[string]any{"new": again.id})
	}
	s.confirm(again)
	s.finish(again)
	records := s.end()
	for _, v := range Check(records) {
		t.Error(v)
	}
	for i := range records {
		if q := records[i].Request; q != nil && q.Operation == "retryRun" && q.Status == 200 {
			q.Answer = text(map[string]any{"new": "R9"})
			break
		}
	}
	if !slices.ContainsFunc(Check(records), func(v Violation) bool { return v.Rule == "keys" }) {
		t.Error("two retries under one key are not found")
	}
}

// A run of a follower that ended before its parent finished counts if the profile keeps
// old plans, or if both were within a second: Spacelift's times are whole seconds.
func TestKeptOldPlansCount(t *testing.T) {
	for _, c := range []struct {
		oldPlans string
		earlier  time.Duration
		missing  bool
	}{{"keep", time.Second, false}, {"", 0, false}, {"", time.Second, true}} {
		s := newStory()
		s.records[1].Setup.Profiles = append(s.records[1].Setup.Profiles, history.Profile{Name: "old", Confirm: "auto", OldPlans: c.oldPlans})
		s.stack("s1-a", "gantry:confirm=auto")
		s.stack("s1-b", "gantry:profile=old", "gantry:after=s1-a")
		s.now += 20 * time.Second
		root := s.push("s1-a", "c1")
		root.followers = []string{"s1-b"}
		follower := s.push("s1-b", "c0")
		s.confirm(follower)
		s.finish(follower)
		s.now += c.earlier
		s.confirm(root)
		s.finish(root)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "released" }); found != c.missing {
			t.Errorf("oldPlans %q, %s earlier: the follower's run is missing: %t", c.oldPlans, c.earlier, found)
		}
	}
}

// In the middle of a chain the creation of its first run counts, not that of the run before
// the follower.
func TestKeptOldPlansCountForTheWholeChain(t *testing.T) {
	for _, c := range []struct {
		oldPlans         string
		earlier, missing bool // than the chain's first run
	}{{"keep", false, false}, {"keep", true, true}, {"", false, true}} {
		s := newStory()
		s.records[1].Setup.Profiles = append(s.records[1].Setup.Profiles, history.Profile{Name: "old", Confirm: "auto", OldPlans: c.oldPlans})
		s.stack("s1-a", "gantry:confirm=auto")
		s.stack("s1-b", "gantry:confirm=auto", "gantry:after=s1-a")
		s.stack("s1-c", "gantry:profile=old", "gantry:after=s1-a", "gantry:after=s1-b")
		s.now += 20 * time.Second
		var root *tale
		if !c.earlier {
			root = s.push("s1-a", "c1")
		}
		kept := s.push("s1-c", "c0")
		s.confirm(kept)
		s.finish(kept)
		s.now += 2 * time.Second
		if c.earlier {
			root = s.push("s1-a", "c1")
		}
		s.confirm(root)
		s.finish(root)
		last := s.trigger("s1-b", "c2", root)
		last.followers, last.chains = []string{"s1-c"}, []begunBy{{Stack: "s1-a", Run: root.id}}
		s.confirm(last)
		s.finish(last)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "released" }); found != c.missing {
			t.Errorf("%+v: the follower's run is missing: %t", c, found)
		}
	}
}

// Nobody is accused over a follower of a stack whose policy the documents leave open: it may
// be on a circle.
func TestAFollowerOfAnUnclearStackIsNotMissed(t *testing.T) {
	for label, missing := range map[string]bool{"gantry:confirm=manual": true, "gantry:approvals=+2": false} {
		s := newStory()
		s.stack("s1-a", "gantry:confirm=auto")
		s.stack("s1-b", "gantry:confirm=auto", "gantry:after=s1-a", "gantry:after=s1-c")
		s.stack("s1-c", "gantry:confirm=auto", label)
		s.now += 20 * time.Second
		root := s.push("s1-a", "c1")
		root.followers = []string{"s1-b"}
		s.confirm(root)
		s.finish(root)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "released" }); found != missing {
			t.Errorf("beside a stack with %s: the follower is missing: %t", label, found)
		}
	}
}
