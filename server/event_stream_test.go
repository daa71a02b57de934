package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// visible is a visibility store: runs by the time of their last change.
type visible struct {
	t     *testing.T
	mu    sync.Mutex
	runs  map[spacelift.RunID]managed.RunStatus // StartedAt is the time of the change
	reads int
}

// shows makes Temporal list what has changed since a time.
func (r *rig) shows(runs ...managed.RunStatus) *visible {
	v := &visible{t: r.t, runs: map[spacelift.RunID]managed.RunStatus{}}
	for _, run := range runs {
		v.runs[run.Run.Run] = run
	}
	r.temporal.pages = func(req *workflowservice.ListWorkflowExecutionsRequest) *workflowservice.ListWorkflowExecutionsResponse {
		_, after, changes := strings.Cut(req.GetQuery(), managed.AttrChanged+" >= '")
		if !changes {
			return &workflowservice.ListWorkflowExecutionsResponse{}
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.reads++
		since, _, _ := strings.Cut(after, "'")
		var found []*workflowpb.WorkflowExecutionInfo
		for _, run := range v.runs {
			if managed.ListedTime(run.StartedAt) >= since {
				found = append(found, executionOf(r.t, run))
			}
		}
		return &workflowservice.ListWorkflowExecutionsResponse{Executions: found}
	}
	return v
}

// change makes a run visible that changes now, or changed before.
func (v *visible) change(id string, before time.Duration, change ...func(*managed.RunStatus)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.runs[spacelift.RunID(id)] = waits(id, 1, append(change, func(s *managed.RunStatus) { s.StartedAt = time.Now().Add(-before) })...)
}

func (v *visible) readings() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.reads
}

// listen opens a stream of events. It must be called in a synctest bubble.
func (r *rig) listen(token, query, lastEvent string) *stream {
	return r.open("/v1/events"+query, token, lastEvent)
}

// news returns the names of the events so far, with the runs that they show.
func (s *stream) news(t *testing.T) string {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	answersAsDocumented(t, s.req, s.w)
	var all []string
	for block := range strings.SplitSeq(strings.TrimSuffix(s.w.Body.String(), "\n\n"), "\n\n") {
		fields := fieldsOf(block)
		if fields["event"] == "" {
			continue
		}
		var shown struct {
			api.RunSummary
			Name string
		}
		if err := json.Unmarshal([]byte(fields["data"]), &shown); err != nil {
			t.Fatalf("%q: %v", block, err)
		}
		all = append(all, strings.TrimSpace(fields["event"]+" "+shown.Run+shown.Name))
	}
	return strings.Join(all, ", ")
}

func (s *stream) wantNews(t *testing.T, want string) {
	t.Helper()
	if got := s.news(t); got != want {
		t.Errorf("%s: events %q, want %q", s.req.URL, got, want)
	}
}

func pass(d time.Duration) { <-time.After(d) }

// inEventBubble runs a test with a clock of its own and a run that changed long ago.
func inEventBubble(t *testing.T, test func(*testing.T, *rig, *visible), options ...option) {
	synctest.Test(t, func(t *testing.T) {
		pass(24 * time.Hour) // the contract has no times before 2000
		r := newRig(t, options...)
		r.temporal.set(asking())
		v := r.shows()
		v.change("00", time.Hour)
		test(t, r, v)
	})
}

func TestEventsShowWhatChanges(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		s := r.listen(approverToken, "", "")
		other := r.listen(viewerToken, "?stack=app-*&account=acme", "")
		defer s.leave()
		defer other.leave()
		pass(2 * time.Second)
		s.wantNews(t, "ready")
		v.change("01", 0)
		v.change("02", 3*time.Second, func(s *managed.RunStatus) { s.Run.Stack = "app-prod" }) // it became visible late
		pass(1100 * time.Millisecond)
		s.wantNews(t, "ready, run 02, run 01")
		other.wantNews(t, "ready, run 02")
		if !strings.Contains(s.w.Body.String(), `"canDecide":["approve","reject"]`) || strings.Contains(other.w.Body.String(), "canDecide") {
			t.Error("an event does not say what its reader may decide")
		}
		pass(20 * time.Second) // nothing comes twice
		v.change("01", 0, func(s *managed.RunStatus) { s.Phase = managed.PhaseDone })
		pass(1100 * time.Millisecond)
		s.wantNews(t, "ready, run 02, run 01, run 01")
	})
}

// However many listen, Temporal is asked twice a second, and not at all while nobody does.
func TestEventsOfManyListenersCostOneReading(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		var all []*stream
		for i := range 200 {
			all = append(all, r.listen(fmt.Sprintf("gantry_viewer_%d", i/10), "", ""))
		}
		pass(10 * time.Second)
		for i := range 5 {
			v.change(fmt.Sprintf("%02d", i), 0)
			pass(time.Second)
		}
		if n := v.readings(); n > 32 {
			t.Errorf("%d readings in 15 seconds", n)
		}
		for _, s := range all {
			s.wantNews(t, "ready, run 00, run 01, run 02, run 03, run 04")
			s.leave()
		}
		pass(2 * time.Second)
		n := v.readings()
		pass(time.Minute)
		if v.readings() != n {
			t.Error("it reads though nobody listens")
		}
	}, viewers(20))
}

// viewers configures further tokens.
func viewers(n int) option {
	return func(c *server.Config) {
		for i := range n {
			token := fmt.Sprintf("gantry_viewer_%d", i)
			c.Tokens = append(c.Tokens, authority.Token{Name: token, Role: authority.RoleViewer, Hash: authority.TokenHash(token)})
		}
	}
}

// A client that comes back receives what changed meanwhile, from this replica or another,
// and readers that come back together cost one reading.
func TestEventsResume(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		s := r.listen(viewerToken, "", "")
		v.change("01", 0)
		pass(2 * time.Second)
		s.wantNews(t, "ready, run 01")
		seen := s.lastID(t)
		s.leave()
		pass(time.Minute)
		v.change("02", 0)
		pass(time.Minute)

		for name, handler := range map[string]*server.Server{"this": r.handler, "another": r.serve(r.inbox)} {
			r.handler = handler
			n := v.readings()
			var again []*stream
			for range 10 {
				again = append(again, r.listen(viewerToken, "?stack=*d&account=acme", seen))
			}
			synctest.Wait()
			if read := v.readings() - n; read > 2 {
				t.Errorf("%s replica: %d readings", name, read)
			}
			for _, s := range again {
				if got := s.news(t); !strings.Contains(got, "run 02") || strings.Contains(got, "ready") || strings.Contains(got, "reset") || strings.Contains(got, "run 00") {
					t.Errorf("%s replica: events %q", name, got)
				}
				s.leave()
			}
			pass(2 * time.Second)
		}

		pass(2 * time.Hour)
		for _, last := range []string{seen, "of another server"} {
			s := r.listen(viewerToken, "", last)
			s.wantNews(t, "reset")
			if s.lastID(t) == last {
				t.Error("it would come back with the same id")
			}
			s.leave()
		}
		pass(2 * time.Second)
	})
}

// A replica that read Temporal a while ago, and not since, shows a client that comes from
// another one nothing older than that one did.
func TestEventsNeverGoBack(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		one, other := r.handler, r.serve(r.inbox)
		r.handler = other
		early := r.listen(viewerToken, "", "")
		v.change("01", 0)
		pass(2 * time.Second)
		early.wantNews(t, "ready, run 01")
		early.leave()
		pass(time.Second)

		r.handler = one
		s := r.listen(viewerToken, "", "")
		v.change("01", 0, func(s *managed.RunStatus) { s.Phase = managed.PhaseDone })
		pass(2 * time.Second)
		s.wantNews(t, "ready, run 01, run 01")
		seen := s.lastID(t)
		s.leave()

		r.handler = other
		again := r.listen(viewerToken, "?stack=*d", seen)
		again.wantNews(t, "run 01")
		if !strings.Contains(again.w.Body.String(), `"phase":"done"`) {
			t.Errorf("it shows an older form of the run: %s", again.w.Body)
		}
		again.leave()
		pass(2 * time.Second)
	})
}

// Changes have Temporal's time. A replica whose clock is minutes ahead of it, or behind,
// streams them all the same.
func TestEventsOfAReplicaWithAWrongClock(t *testing.T) {
	for _, ahead := range []time.Duration{4 * time.Minute, -4 * time.Minute} {
		inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
			v.change("01", time.Hour+ahead)
			s := r.listen(viewerToken, "", "")
			pass(time.Second)
			s.wantNews(t, "ready")
			v.change("01", ahead)
			pass(time.Second)
			s.wantNews(t, "ready, run 01")
			late := r.listen(viewerToken, "", "")
			v.change("02", ahead)
			pass(time.Second)
			s.wantNews(t, "ready, run 01, run 02")
			late.wantNews(t, "ready, run 02")
			s.leave()
			late.leave()
			pass(2 * time.Second)
		})
	}
}

// A client that comes back while Temporal doesn't answer lists anew, since nobody knows
// what it missed.
func TestEventsResumeWhileTemporalIsAway(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		s := r.listen(viewerToken, "", "")
		v.change("01", 0)
		pass(2 * time.Second)
		seen := s.lastID(t)
		s.leave()
		pass(time.Second)
		r.temporal.fail(serviceerror.NewUnavailable("down"))
		again := r.listen(viewerToken, "", seen)
		pass(2 * time.Second)
		again.wantNews(t, "reset")
		v.change("01", 0, func(s *managed.RunStatus) { s.Phase = managed.PhaseDone })
		r.temporal.fail(nil)
		pass(11 * time.Second)
		again.wantNews(t, "reset, run 01")
		again.leave()
		pass(2 * time.Second)
	})
}

// While Temporal is away, streams stay open and miss nothing.
func TestEventsWhileTemporalIsAway(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		s := r.listen(viewerToken, "", "")
		defer s.leave()
		r.temporal.fail(serviceerror.NewUnavailable("down"))
		pass(2 * time.Second)
		v.change("01", 0)
		pass(2 * time.Minute)
		s.wantNews(t, "ready")
		if !strings.Contains(s.w.Body.String(), ": nothing new") {
			t.Error("the connection shows no sign of life")
		}
		r.temporal.fail(nil)
		pass(11 * time.Second)
		s.wantNews(t, "ready, run 01")
	})
}

// Readers see their stacks only.
func TestEventsInScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := scopesRig(t)
		v := r.shows()
		streams := map[string]*stream{}
		for name := range places {
			streams[name] = r.listen(tokenFor(authority.RoleViewer, name), "", "")
		}
		v.change("01", 0)
		pass(2 * time.Second)
		for name, p := range places {
			want := "ready"
			if p.stack {
				want = "ready, run 01"
			}
			streams[name].wantNews(t, want)
			streams[name].leave()
		}
		pass(2 * time.Second)
	})
}

// A stream is bounded by what its reader may see, for as long as it lasts.
func TestEventsEndWithTheToken(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		s := r.listen("gantry_short", "", "")
		run := r.followAs("gantry_short", "")
		pass(50 * time.Second)
		if s.over() || run.over() {
			t.Fatal("it ended early")
		}
		pass(40 * time.Second) // half a minute after its end
		if !s.over() || !run.over() {
			t.Errorf("the token has expired; events continue: %t, the run continues: %t", !s.over(), !run.over())
		}
		pass(2 * time.Second)
	}, func(c *server.Config) {
		c.Tokens = append(c.Tokens, authority.Token{Name: "short", Role: authority.RoleViewer, Hash: authority.TokenHash("gantry_short"), Expires: authority.Instant(time.Now().Add(time.Minute).Format(time.RFC3339))})
	})
}

// A token has ten streams at most. A person who signed in has fifty more, one for each page
// that their browsers have open.
func TestEventsOfACallerAreBounded(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, _ *visible) {
		p := at(r, "http://localhost")
		p.paste(viewerToken)
		cookie := http.Header{"Cookie": {"gantry_session=" + p.cookies["gantry_session"].Value}}
		for most, open := range map[int]func() *stream{
			10: func() *stream { return r.listen(viewerToken, "", "") },
			50: func() *stream { return r.openWith("http://localhost/v1/events", cookie) },
		} {
			first := open()
			for range most - 1 {
				s := open()
				defer s.leave()
				if s.w.Code != http.StatusOK {
					t.Fatalf("a stream of %d is refused: %s", most, s.w.Body)
				}
			}
			refused := open()
			if !refused.over() || refused.w.Header().Get("Retry-After") == "" {
				t.Fatalf("a stream beyond %d is not refused", most)
			}
			if problem := wantProblem(t, refused.w, http.StatusTooManyRequests, "too-many-streams"); !strings.Contains(*problem.Detail, fmt.Sprintf("vera has %d open", most)) {
				t.Errorf("beyond %d it says %s", most, *problem.Detail)
			}
			first.leave()
			synctest.Wait()
			next := open()
			defer next.leave()
			if next.w.Code != http.StatusOK {
				t.Errorf("after one of %d has ended: %s", most, next.w.Body)
			}
		}
	}, keepsSessions)
}

// The health of an account is an event when a finding comes or goes.
func TestEventsOfAccounts(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, _ *visible) {
		r.temporal.reports = map[spacelift.Account]reconcile.Report{"acme": {Outcome: "done", At: time.Now()}}
		s := r.listen(viewerToken, "", "")
		narrow := r.listen(viewerToken, "?stack=network-prod", "")
		defer s.leave()
		defer narrow.leave()
		pass(45 * time.Second)
		s.wantNews(t, "ready")
		r.temporal.report("acme", reconcile.Report{Outcome: "done", At: time.Now(), Findings: []reconcile.Finding{{Kind: "webhook-disabled", Since: time.Now(), Summary: "it is off", Fix: "switch it on"}}})
		pass(30 * time.Second)
		s.wantNews(t, "ready, account acme")
		narrow.wantNews(t, "ready")
	}, func(c *server.Config) { c.Reconcile = time.Hour })
}

// A run that has not changed since it was started has no time of its own: the process that
// started it may have a wrong clock. Temporal's start time counts.
func TestEventsOfRunsThatBegin(t *testing.T) {
	inEventBubble(t, func(t *testing.T, r *rig, v *visible) {
		begun := time.Now().UTC()
		shown := r.temporal.pages
		r.temporal.pages = func(req *workflowservice.ListWorkflowExecutionsRequest) *workflowservice.ListWorkflowExecutionsResponse {
			page := shown(req)
			for _, e := range page.GetExecutions() {
				delete(e.GetSearchAttributes().GetIndexedFields(), managed.AttrChanged)
			}
			if q := req.GetQuery(); strings.Contains(q, managed.AttrChanged) && !strings.Contains(q, " OR StartTime >= '") {
				t.Errorf("asked %s, which leaves out runs that have just begun", q)
			}
			return page
		}
		s := r.listen(viewerToken, "", "")
		v.change("01", 0)
		pass(time.Second)
		s.wantNews(t, "ready, run 01")
		if id := s.lastID(t); !strings.HasPrefix(id, managed.ListedTime(begun)) {
			t.Errorf("the event has the id %q, want one from %s", id, managed.ListedTime(begun))
		}
		s.leave()
		pass(2 * time.Second)
	})
}
