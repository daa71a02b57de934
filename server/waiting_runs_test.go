package server_test

import (
	"encoding/json"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
)

// countLists counts the lists of Temporal that aren't about changes. There are no changes
// until the second result is set.
func (r *rig) countLists() (lists *atomic.Int64, changes *atomic.Bool) {
	lists, changes = new(atomic.Int64), new(atomic.Bool)
	pages := r.temporal.pages
	r.temporal.pages = func(req *workflowservice.ListWorkflowExecutionsRequest) *workflowservice.ListWorkflowExecutionsResponse {
		if !strings.Contains(req.GetQuery(), managed.AttrChanged) {
			lists.Add(1)
		} else if !changes.Load() {
			return &workflowservice.ListWorkflowExecutionsResponse{}
		}
		return pages(req)
	}
	return lists, changes
}

// What callers share changes nothing of what each of them sees: the lists, the counts, the
// events and the page agree with the answer about the single run, for each caller, while
// pages are open and without any.
func TestSharedReadingsAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass(24 * time.Hour)
		r, _, _ := scopesRig(t)
		_, all := allKinds()
		for i := range all {
			if i%3 == 0 {
				all[i].Run.Stack = "app-prod"
			}
			r.temporal.set(all[i])
		}
		r.lists(append(all, waits("done", 0, func(s *managed.RunStatus) { s.Phase = managed.PhaseDone }))...)
		tokens := []string{approverToken, adminToken, viewerToken}
		for place := range places {
			tokens = append(tokens, tokenFor(authority.RoleApprover, place))
		}
		queries := []string{
			"canDecide=me", "waiting=any&order=oldest", "group=me&order=oldest", "waiting=any&author=me&order=oldest", "waiting=any&held=true&order=oldest",
			"canDecide=me&state=QUEUED", "canDecide=me&state=UNCONFIRMED", "waiting=person&order=oldest&stack=app-*&ended=false", "canDecide=me&since=2026-01-01T10:00:00Z&until=2027-01-01T10:00:00Z", "canDecide=me&run=0",
		}
		read := func(token string) (bodies []string) {
			for i, query := range queries {
				w := r.get("/v1/runs?pageSize=200&"+query, token)
				bodies = append(bodies, w.Body.String())
				if i > 1 {
					continue
				}
				if paged := r.listed(token, "pageSize=7&"+query); !slices.Equal(paged, idsOf(decode[api.RunList](t, w).Runs)) {
					t.Errorf("%s: the pages of %s list %v", token, query, paged)
				}
			}
			return append(bodies, r.get("/v1/runs/counts", token).Body.String())
		}
		r.get("/v1/runs?space=net", adminToken) // from here on it knows the stacks' spaces
		direct := map[string][]string{}
		for _, token := range tokens {
			direct[token] = read(token)
		}
		lists, changes := r.countLists()
		streams := map[string]*stream{}
		for _, token := range tokens {
			streams[token] = r.listen(token, "", "")
		}
		pass(time.Second)
		changes.Store(true) // now that all listen
		pass(time.Second)
		for _, token := range tokens {
			n := lists.Load()
			shared := read(token)
			if more := lists.Load() - n; more > 1 { // of the bypassed runs
				t.Errorf("%s: %d lists of Temporal", token, more)
			}
			for i := range shared {
				if shared[i] != direct[token][i] {
					t.Errorf("%s: %s differs while pages are open:\n%s\n%s", token, append(queries, "counts")[i], direct[token][i], shared[i])
				}
			}
			r.agrees(token, streams[token], shared)
			streams[token].leave()
		}
	})
}

func idsOf(runs []api.RunSummary) (ids []string) {
	for _, run := range runs {
		ids = append(ids, run.Run)
	}
	return ids
}

// nextPage is the link to the next page of Waiting.
var nextPage = regexp.MustCompile(`href="(\?[^"]+)" rel="next"`)

// agrees compares what a caller reads of runs with the answers about each of them.
func (r *rig) agrees(token string, s *stream, bodies []string) {
	r.t.Helper()
	events := map[string]api.RunSummary{}
	synctest.Wait()
	for block := range strings.SplitSeq(s.w.Body.String(), "\n\n") {
		if fields := fieldsOf(block); fields["event"] == "run" {
			var run api.RunSummary
			if err := json.Unmarshal([]byte(fields["data"]), &run); err != nil {
				r.t.Fatal(err)
			}
			events[run.Run] = run
		}
	}
	var mine, waiting api.RunList
	var counts api.RunCounts
	for body, value := range map[string]any{bodies[0]: &mine, bodies[1]: &waiting, bodies[len(bodies)-1]: &counts} {
		if err := json.Unmarshal([]byte(body), value); err != nil {
			r.t.Fatal(err)
		}
	}
	page := ""
	for next := []string{"", "?show=all"}; next != nil; next = nextPage.FindStringSubmatch(page) {
		body := r.get("/"+html.UnescapeString(next[1]), token).Body.String()
		page = nextPage.ReplaceAllString(page, "") + body
	}
	_, all := allKinds()
	seen, approvable := 0, 0
	for i, run := range all {
		stack := "network-prod"
		if i%3 == 0 {
			stack = "app-prod"
		}
		w := r.get("/v1/accounts/acme/stacks/"+stack+"/runs/"+string(run.Run.Run), token)
		at := slices.IndexFunc(waiting.Runs, func(l api.RunSummary) bool { return l.Run == string(run.Run.Run) })
		event, sent := events[string(run.Run.Run)]
		if see := w.Code == http.StatusOK; see != (at >= 0) || see != sent {
			r.t.Errorf("%s sees %s: %t; in the list: %t, as an event: %t", token, run.Run, see, at >= 0, sent)
			continue
		} else if !see {
			continue
		}
		seen++
		single := decode[api.Run](r.t, w)
		approves := slices.Contains(single.CanDecide, api.VerdictApprove)
		if approves {
			approvable++
		}
		if !slices.Equal(single.CanDecide, waiting.Runs[at].CanDecide) || !slices.Equal(single.CanDecide, event.CanDecide) ||
			approves != slices.Contains(idsOf(mine.Runs), single.Run) || approves != strings.Contains(page, `id="approve-`+single.Run+`"`) {
			r.t.Errorf("%s may decide %v about %s; the list, the event or the page says otherwise", token, single.CanDecide, single.Run)
		}
	}
	if counts.Waiting != seen || counts.CanDecide != approvable || counts.Waiting != len(waiting.Runs) {
		r.t.Errorf("%s sees %d and may approve %d; the counts are %+v", token, seen, approvable, counts)
	}
}

// A run that an operator terminated in Temporal changes nothing that lists could notice. It
// is gone after a while.
func TestTerminatedRunsLeaveTheSharedReading(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		v.listsToo(r)
		s := r.listen(viewerToken, "", "")
		defer s.leave()
		pass(2 * time.Second)
		if n := len(r.listed(viewerToken, waitingList)); n != 1 {
			t.Fatalf("%d runs wait", n)
		}
		v.mu.Lock()
		clear(v.runs)
		v.mu.Unlock()
		pass(31 * time.Second)
		if got := r.listed(viewerToken, waitingList); len(got) != 0 {
			t.Errorf("%v wait", got)
		}
	})
}

// While Temporal is away, a list says so: it doesn't show what was last known.
func TestSharedReadingsEndWithTemporal(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		v.listsToo(r)
		s := r.listen(viewerToken, "", "")
		defer s.leave()
		pass(2100 * time.Millisecond)
		r.temporal.fail(serviceerror.NewUnavailable("away"))
		pass(10 * time.Millisecond)
		r.listed(viewerToken, waitingList) // of a moment ago
		pass(time.Second)
		wantProblem(t, r.get("/v1/runs?"+waitingList, viewerToken), http.StatusServiceUnavailable, "temporal-unavailable")
		r.temporal.fail(nil)
		pass(15 * time.Second)
		if n := len(r.listed(viewerToken, waitingList)); n != 1 {
			t.Errorf("%d runs wait", n)
		}
	})
}

// A page whose stream another replica serves asks this one after the other's event: it
// finds what the event was about.
func TestAListIsNoOlderThanAnotherReplicasEvent(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		v.listsToo(r)
		here := r.listen(viewerToken, "", "") // some other page
		defer here.leave()
		there := &rig{t: t, temporal: r.temporal, handler: r.serve(r.inbox)}
		pass(130 * time.Millisecond)
		s := there.listen(viewerToken, "", "")
		defer s.leave()
		for i := range 20 {
			pass(317 * time.Millisecond)
			id := string(rune('a' + i))
			v.change(id, 0)
			for !strings.Contains(s.news(t), "run "+id) {
				pass(10 * time.Millisecond)
			}
			pass(recentAge)
			if got := r.listed(viewerToken, waitingList); !slices.Contains(got, id) {
				t.Fatalf("after the event about %s the list has %v", id, got)
			}
		}
	})
}

// recentAge is the age of answers that callers share. Pages wait longer after an event.
const recentAge = 250 * time.Millisecond
