package activities_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// How far the stacks are that go before the newest run of web, in an account of
// web < app < net and web < dns, where nobody reads chains.
func TestReadParents(t *testing.T) {
	fails := simulator.Plan{FailIn: spacelift.RunStatePlanning}
	for _, tc := range []struct {
		name  string
		story func(*town)
		want  managed.ParentsState
		says  string
	}{
		{"nobody else was pushed", func(c *town) { c.push("c1", changes, "web") }, managed.ParentsThrough, ""},
		{"a parent of the same push has not ended", func(c *town) { c.push("c1", changes, "app", "web") }, managed.ParentsBusy, "of app works on the same commit"},
		{"one further up does, and the parent was not pushed", func(c *town) { c.push("c1", changes, "net", "web") }, managed.ParentsBusy, "of net works on the same commit"},
		{"one further up does, and the parent of the push found no changes yet", func(c *town) {
			c.push("c1", changes, "net")
			c.push("c1", noChanges, "app")
			c.push("c1", changes, "web")
		}, managed.ParentsBusy, "of net"},
		{"one further up does once more, and Gantry has confirmed the parent", func(c *town) {
			c.push("c1", changes, "app")
			c.passes(time.Hour)
			c.must(c.sim.Confirm("api::gantry", "app", c.run("app", -1).Ref.Run, "Confirmed by Gantry. [gantry: confirm 5]"))
			c.passes(5 * time.Minute)
			c.push("c1", changes, "net", "web")
		}, managed.ParentsThrough, ""},
		{"somebody confirmed the parent before one further up", func(c *town) {
			c.push("c1", changes, "net", "app")
			c.passes(time.Hour)
			c.applies("app")
			c.push("c1", changes, "web")
		}, managed.ParentsBusy, "of net"},
		{"a parent of another push has not ended", func(c *town) {
			c.push("c1", changes, "app")
			c.push("c2", changes, "web")
		}, managed.ParentsThrough, ""},
		{"one of two parents has not ended", func(c *town) {
			c.push("c1", noChanges, "app")
			c.push("c1", changes, "dns", "web")
		}, managed.ParentsBusy, "of dns"},
		{"a parent of the same push had no changes", func(c *town) {
			c.push("c1", noChanges, "app")
			c.push("c1", changes, "web")
		}, managed.ParentsThrough, ""},
		{"a parent of the same push failed", func(c *town) {
			c.push("c1", fails, "app")
			c.push("c1", changes, "web")
		}, managed.ParentsFailed, "of app, which works on the same commit, ended in FAILED"},
		{"it failed, and a newer push made up for it", func(c *town) {
			c.push("c1", fails, "app")
			c.passes(time.Hour)
			c.push("c2", noChanges, "app")
			c.passes(time.Hour)
			c.push("c1", changes, "web")
		}, managed.ParentsThrough, ""},
		{"one further up failed, and the parent was not pushed", func(c *town) {
			c.push("c1", fails, "net")
			c.push("c1", changes, "web")
		}, managed.ParentsFailed, "of net"},
		{"a parent has applied changes since the plan was made", func(c *town) {
			c.push("c1", changes, "app", "web")
			c.passes(time.Hour)
			c.applies("app")
		}, managed.ParentsNewer, "of app has applied changes since the plan was made"},
		{"a parent of another push has", func(c *town) {
			c.push("c1", changes, "web")
			c.passes(time.Hour)
			c.push("c2", changes, "dns")
			c.passes(time.Hour)
			c.applies("dns")
		}, managed.ParentsNewer, "of dns"},
		{"it has before the plan was made", func(c *town) {
			c.push("c1", changes, "app")
			c.passes(time.Hour)
			c.applies("app")
			c.push("c1", changes, "web")
		}, managed.ParentsThrough, ""},
		{"a parent failed while it applied", func(c *town) {
			c.push("c2", simulator.Plan{Delta: spacelift.Delta{Added: 1}, FailIn: spacelift.RunStateApplying}, "app")
			c.push("c1", changes, "web")
			c.passes(time.Hour)
			c.applies("app")
		}, managed.ParentsNewer, "of app"},
		{"one further up has applied, which the parent stands between", func(c *town) {
			c.push("c1", changes, "net", "web")
			c.passes(time.Hour)
			c.applies("net")
		}, managed.ParentsThrough, ""},
		{"a parent is not managed", func(c *town) {
			c.must(c.sim.SetLabels("app", "env:prod"))
			c.push("c1", changes, "app", "web")
		}, managed.ParentsThrough, ""},
		{"a parent is not there", func(c *town) {
			c.labels("web", "gantry:after=gone", "gantry:after=app")
			c.push("c1", changes, "app", "web")
		}, managed.ParentsBusy, "of app"},
		{"the labels lead in a circle", func(c *town) {
			c.labels("net", "gantry:after=web")
			c.push("c1", changes, "web")
		}, managed.ParentsThrough, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTown(t, "net", "dns", "app<net", "web<app,dns")
			tc.story(c)
			c.passes(time.Hour)
			if got := c.waits("web"); got.State != tc.want || !strings.Contains(got.Reason, tc.says) || (got.Reason == "") != (tc.says == "") {
				t.Errorf("%+v, want %s with %q", got, tc.want, tc.says)
			}
		})
	}
}

// A run that ended without changes, on a plan that has become old, leaves the rest to a newer
// run of its commit.
func TestReadParentsOfARunThatWasReplaced(t *testing.T) {
	c := newTown(t, "app", "web<app")
	c.push("c1", changes, "app")
	c.push("c1", noChanges, "web")
	c.passes(time.Hour)
	c.applies("app")
	ended := c.run("web", 0)
	if got := c.waits("web"); got.State != managed.ParentsNewer || got.Chain {
		t.Errorf("%+v before another run", got)
	}
	c.push("c1", noChanges, "web")
	c.passes(time.Hour)
	got, err := do[activities.Parents](c.env, c.acts.ReadParents, activities.ReadParentsInput{Run: ended.Ref})
	if err != nil || got.State != managed.ParentsNewer || !got.Chain || !strings.Contains(got.Reason, "has taken its place") {
		t.Errorf("%+v, %v", got, err)
	}
}

// Gantry waits for an open chain that has not reached the stack, even where no stack
// that goes first has a run to show; one that has reached it is only named.
func TestReadParentsAsksChains(t *testing.T) {
	c := newTown(t, "net", "app<net", "web<app")
	c.push("c1", changes, "web")
	c.passes(time.Hour)
	root := `"root":{"account":"acme","stack":"net","run":"01R"}`
	for _, tc := range []struct {
		name, answer string
		want         managed.ParentsState
		chains       int
	}{
		{"it waits in a chain", `{` + root + `,"in":true,"waits":true,"open":true,"reason":"run 01A of app is in progress"}`, managed.ParentsBusy, 1},
		{"a chain has reached it", `{` + root + `,"in":true,"open":true}`, managed.ParentsThrough, 1},
		{"it is none of the chain's", `{}`, managed.ParentsThrough, 0},
	} {
		c.acts.Temporal = chains{ids: []string{"it"}, answers: map[string]string{"it": tc.answer}}
		got := c.waits("web")
		if got.State != tc.want || len(got.Chains) != tc.chains || tc.want == managed.ParentsBusy && (!got.Chain || !strings.Contains(got.Reason, "run 01A of app is in progress")) {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}

// A run further up that has ended may be about to begin the chain that reaches
// the stacks between.
func TestReadParentsWaitsForAChainToBegin(t *testing.T) {
	c := newTown(t, "net", "app<net", "web<app")
	c.push("c1", noChanges, "net")
	c.push("c1", changes, "web")
	c.passes(time.Hour)
	for phase, want := range map[string]managed.ParentsState{"applying": managed.ParentsBusy, "done": managed.ParentsThrough} {
		c.acts.Temporal = chains{answers: map[string]string{"run/" + c.run("net", 0).Ref.String(): `{"phase":"` + phase + `"}`}}
		if got := c.waits("web"); got.State != want {
			t.Errorf("while its execution is %s: %+v", phase, got)
		}
	}
}

// A run in the queue takes the place of a plan that is old: one that is there
// already, or a new one, once however often it is attempted.
func TestReplaceRun(t *testing.T) {
	for _, tc := range []struct {
		name  string
		story func(*town)
		want  managed.ActOutcome
		runs  int    // that app has afterwards
		says  string // why nothing was done
	}{
		{"there is no other", func(*town) {}, managed.ActDone, 2, ""},
		{"the answer is lost", func(c *town) {
			_, err := c.sim.InjectAPI(simulator.APIFault{Kind: simulator.LostResponse, Field: "runTrigger", Times: 1})
			c.must(err)
		}, managed.ActDone, 2, ""},
		{"a newer push waits", func(c *town) { c.push("c2", changes, "app") }, managed.ActDone, 2, ""},
		{"somebody was faster", func(c *town) { c.must(c.sim.Confirm("jane", "app", c.run("app", 0).Ref.Run, "")) }, managed.ActMoot, 1, "not in UNCONFIRMED"},
		{"the stack is disabled", func(c *town) { c.must(c.sim.Disable("app")) }, managed.ActRefused, 1, "disabled"},
		{"somebody has locked it", func(c *town) { c.must(c.sim.Lock("joe", "app", "")) }, managed.ActRefused, 1, "joe"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTown(t, "net", "app<net")
			c.push("c1", changes, "app")
			c.passes(time.Hour)
			run := c.run("app", 0).Run
			tc.story(c)
			in := activities.ReplaceRunInput{Run: run.Ref, StateVersion: run.StateVersion}
			got, err := do[activities.ReplaceRunResult](c.env, c.acts.ReplaceRun, in)
			if tc.name == "the answer is lost" {
				if err == nil {
					t.Fatal("the answer was not lost")
				}
				got, err = do[activities.ReplaceRunResult](c.env, c.acts.ReplaceRun, in)
			}
			c.must(err)
			if got.Outcome != tc.want || c.runs("app") != tc.runs || !strings.Contains(got.Reason, tc.says) {
				t.Fatalf("%+v of %d runs, want %s", got, c.runs("app"), tc.want)
			}
			if tc.want != managed.ActDone {
				return
			}
			again, err := do[activities.ReplaceRunResult](c.env, c.acts.ReplaceRun, in)
			c.must(err)
			if newest := c.run("app", 1); got.New != newest.Ref || again.New != got.New || c.runs("app") != 2 || newest.State.Terminal() {
				t.Errorf("%+v, then %+v, of %d runs", got, again, c.runs("app"))
			}
			if newest := c.run("app", 1); tc.runs == 2 && tc.name != "a newer push waits" && newest.Commit.Hash != "c1" {
				t.Errorf("the new run works on %s", newest.Commit.Hash)
			}
		})
	}
}

// A plan is confirmed only if the stacks that go first are through at that moment,
// however long ago an attempt began.
func TestConfirmRunReadsTheParents(t *testing.T) {
	applied := func(c *town) {
		c.push("c2", changes, "dns")
		c.passes(time.Hour)
		c.applies("dns")
	}
	for name, tt := range map[string]struct {
		story   func(*town)
		profile string
		want    managed.ConfirmOutcome
	}{
		"they are through":                {func(*town) {}, "", managed.Confirmed},
		"one has applied since":           {applied, "", managed.ParentsMoved},
		"one has, and old plans are kept": {applied, "gantry:profile=patient", managed.Confirmed},
		"one works on the commit":         {func(c *town) { c.push("c1", changes, "app") }, "gantry:profile=patient", managed.ParentsMoved},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTown(t, "net", "app<net", "dns", "web<app,dns")
			c.must(c.sim.SetLabels("web", "gantry:managed", "gantry:after=app", "gantry:after=dns", tt.profile))
			c.push("c1", changes, "web")
			c.passes(time.Hour)
			tt.story(c)
			run := c.run("web", -1).Run
			result, err := do[managed.ConfirmResult](c.env, c.acts.ConfirmRun, activities.ConfirmRunInput{
				ConfirmRunInput: managed.ConfirmRunInput{
					Run: run.Ref, Judged: managed.Judged{Policy: c.acts.Definitions().Resolve(policy.Labelled(run.StackLabels)).Of("web"), Approved: true},
					Expect: managed.Expect{Type: run.Type, State: run.State, StateVersion: run.StateVersion},
				},
				Behind: &besides,
			})
			c.must(err)
			if confirmed := c.run("web", -1).State != spacelift.RunStateUnconfirmed; result.Outcome != tt.want || confirmed != (tt.want == managed.Confirmed) {
				t.Errorf("%s: %s; the run is %s", result.Outcome, result.Reason, c.run("web", -1).State)
			}
		})
	}
}
