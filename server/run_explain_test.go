package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

func TestExplain(t *testing.T) {
	r := newRig(t)
	wantProblem(t, r.get(runPath+"/explain", viewerToken), http.StatusNotFound, "not-found")
	r.temporal.set(asking())
	r.temporal.why = map[string]managed.Explanation{managed.ManageRunID(theRun): {
		Run: theRun, State: "UNCONFIRMED", Phase: managed.PhaseWaiting, Summary: "two of platform must approve",
		WaitingFor: &managed.WaitingFor{What: managed.WaitPerson, Reason: "the plan deletes 1 resource", Since: planned, Who: "platform"},
		Unblock:    []managed.Unblock{{Who: "platform without jdoe", How: "approve or reject it"}},
		Next:       []managed.NextStep{{At: planned.Add(time.Hour), What: "people are reminded"}, {What: "nothing else"}},
		Approvals:  &managed.Approvals{Needed: 2},
		Rules:      []managed.Rule{{Name: "confirm", Value: "no-deletes", Origin: "gantry:confirm=no-deletes", Effect: managed.EffectAsks, Detail: "it deletes", Overruled: []policy.Overruled{{Setting: "confirm", Value: "auto", Origin: "gantry:confirm=auto", Reason: "it is locked"}}}},
	}}
	w := r.get(runPath+"/explain", viewerToken)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := api.Explanation{
		Account: "acme", Stack: "network-prod", Run: string(theRun.Run), State: new("UNCONFIRMED"), Phase: api.PhaseWaiting, Summary: "two of platform must approve",
		WaitingFor: &api.WaitingFor{What: "person", Reason: "the plan deletes 1 resource", Since: planned, Who: new("platform")},
		Unblock:    []api.Unblock{{Who: "platform without jdoe", How: "approve or reject it"}},
		Next:       []api.NextStep{{At: new(planned.Add(time.Hour)), What: "people are reminded"}, {What: "nothing else"}},
		Approvals:  &api.Approvals{Needed: 2, Decided: []api.Decided{}},
		Rules:      []api.Rule{{Name: "confirm", Value: "no-deletes", Origin: "gantry:confirm=no-deletes", Effect: "asks", Detail: new("it deletes"), Overruled: []api.OverruledValue{{Value: "auto", Origin: "gantry:confirm=auto", Reason: "it is locked"}}}},
	}
	if diff := cmp.Diff(want, decode[api.Explanation](t, w)); diff != "" {
		t.Errorf("explanation (-want +got):\n%s", diff)
	}
}

// A run that failed shows why, and what becomes of it.
func TestARunThatIsRetried(t *testing.T) {
	r := newRig(t)
	at := planned.Add(time.Minute)
	r.temporal.set(managed.RunStatus{
		Run: theRun, State: "FAILED", Phase: managed.PhaseRetrying, StartedAt: planned, Policy: ordinaryPolicy(),
		WaitingFor: &managed.WaitingFor{What: managed.WaitRetry, Reason: "it is tried again", Since: planned, Until: at},
		Gate:       &policy.Gate{Open: true, At: planned},
		Failure:    &managed.Failure{Cause: policy.CauseCapacity, Phase: "PLANNING", Evidence: "429 Too Many Requests", Source: "log"},
		Retry:      &managed.Retry{Attempt: 3, Of: 3, At: at, Reason: "capacity comes back"},
		RetryOf:    &managed.RetryOf{Run: spacelift.RunRef{Run: "01BEFORE"}, Attempt: 2, By: "gantry"},
	})
	w := r.get(runPath, viewerToken)
	got := decode[api.Run](t, w)
	want := api.Run{
		WaitingFor: &api.WaitingFor{What: "retry", Reason: "it is tried again", Since: planned, Until: &at},
		Gate:       &api.Gate{Open: true, At: planned},
		Failure:    &api.Failure{Cause: "capacity", Phase: new("PLANNING"), Evidence: new("429 Too Many Requests"), Source: new("log")},
		Retry:      &api.RetryState{Attempt: 3, Of: 3, At: at, Reason: "capacity comes back"},
		RetryOf:    &api.RetryOf{Run: "01BEFORE", Attempt: 2, By: "gantry"},
	}
	got = api.Run{WaitingFor: got.WaitingFor, Gate: got.Gate, Failure: got.Failure, Retry: got.Retry, RetryOf: got.RetryOf}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%d, run (-want +got):\n%s", w.Code, diff)
	}
}

// story is a run with n timeline entries; every third is a decision.
func story(n int) managed.RunStatus {
	s := asking()
	for i := range n {
		e := managed.TimelineEntry{At: planned.Add(time.Duration(i) * time.Second), Kind: managed.KindEvent, Source: "webhook", Summary: fmt.Sprintf("entry %d", i)}
		if i%3 == 0 {
			e.Kind, e.State, e.StateVersion = managed.KindDecision, "UNCONFIRMED", 5
		}
		s.Timeline = append(s.Timeline, e)
	}
	return s
}

// pages walks the timeline page by page; between runs after each page.
func (r *rig) pages(query string, between func(page int)) []string {
	r.t.Helper()
	var all []string
	token := ""
	for page := range 50 {
		w := r.get(runPath+"/timeline"+query+token, viewerToken)
		if w.Code != http.StatusOK {
			r.t.Fatalf("%d %s", w.Code, w.Body)
		}
		got := decode[api.Timeline](r.t, w)
		for _, e := range got.Entries {
			all = append(all, e.Summary)
		}
		if got.NextPageToken == nil {
			return all
		}
		token = "&pageToken=" + *got.NextPageToken
		between(page)
	}
	r.t.Fatal("the timeline has no end")
	return nil
}

func TestTimeline(t *testing.T) {
	r := newRig(t)
	r.temporal.set(story(10))
	nothing := func(int) {}
	everything := func(from, to, step int) (all []string) {
		for i := from; i < to; i += step {
			all = append(all, fmt.Sprintf("entry %d", i))
		}
		return all
	}
	for query, want := range map[string][]string{
		"?pageSize=3": everything(0, 10, 1), "?pageSize=1": everything(0, 10, 1), "?pageSize=10": everything(0, 10, 1), "?": everything(0, 10, 1),
		"?kind=decision&pageSize=1": everything(0, 10, 3), "?kind=decision&pageSize=4": everything(0, 10, 3), "?kind=repair": nil,
	} {
		if diff := cmp.Diff(want, r.pages(query, nothing)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	entry := decode[api.Timeline](t, r.get(runPath+"/timeline?pageSize=1", viewerToken)).Entries[0]
	if diff := cmp.Diff(api.TimelineEntry{At: planned, Kind: "decision", Source: "webhook", Summary: "entry 0", State: new("UNCONFIRMED"), StateVersion: new(5)}, entry); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}

	// What comes in between pages neither repeats entries nor loses any.
	late := managed.TimelineEntry{At: planned, Kind: managed.KindEvent, Source: "webhook", Summary: "late"}
	if diff := cmp.Diff(append(everything(0, 10, 1), "late"), r.pages("?pageSize=4", func(page int) {
		s := story(10)
		s.Timeline = append(append([]managed.TimelineEntry{late}, s.Timeline...), late)
		r.temporal.set(s)
	})); diff != "" {
		t.Errorf("with a late entry (-want +got):\n%s", diff)
	}
	// Entries that are dropped while pages are read are not shown; all others are.
	r.temporal.set(story(10))
	if diff := cmp.Diff(append(everything(0, 4, 1), everything(8, 10, 1)...), r.pages("?pageSize=4", func(int) {
		s := story(10)
		s.Timeline = s.Timeline[8:]
		r.temporal.set(s)
	})); diff != "" {
		t.Errorf("dropped entries (-want +got):\n%s", diff)
	}
}

func TestTimelineTokensThatAreNotOurs(t *testing.T) {
	r := newRig(t)
	r.temporal.set(story(3))
	for _, token := range []string{"!!", "eA", "MQ", "LTEuYQ", strings.Repeat("A", 4000)} { // "x", "1", "-1.a"
		wantProblem(t, r.get(runPath+"/timeline?pageToken="+token, viewerToken), http.StatusBadRequest, "bad-request")
	}
}
