package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
)

// A person who keeps a list open sees within a second that a run waits for them, that
// another has approved it, and that it is done. The list says the same, and names it for
// those who may approve it alone.
func TestPeopleSeeWhatWaitsForThem(t *testing.T) {
	w := newWorld(t, twoApprove)
	who, _ := w.servePeople("")
	events := w.events("bob", "")
	events.until("ready", func(e event) bool { return e.name == "ready" })

	id := w.change("billing-prod", 1)
	asked := events.until("the run waits for bob", func(e event) bool { return e.run.Run == string(id) && e.run.Phase == api.PhaseWaiting })
	if !slices.Equal(asked.run.CanDecide, []api.Verdict{api.VerdictApprove, api.VerdictReject}) || asked.run.Approvals == nil || asked.run.Approvals.Needed != 2 ||
		asked.run.Delta == nil || asked.run.Delta.Deleted != 1 || asked.run.Commit == nil || asked.run.WaitingFor == nil || asked.run.WaitingFor.What != "person" {
		t.Errorf("the event shows %s", asked.data)
	}
	w.waitsFor(who.bob, id)
	w.waitsFor(who.alice)

	w.counts(who.bob, "billing-prod", id, api.VerdictApprove)
	once := events.until("bob has approved it", func(e event) bool {
		return e.run.Run == string(id) && e.run.Approvals != nil && e.run.Approvals.Given == 1
	})
	if !slices.Equal(once.run.CanDecide, []api.Verdict{api.VerdictReject, api.VerdictRevoke}) || once.run.Approvals.Decided[0].By != "bob" {
		t.Errorf("the event shows %s", once.data)
	}
	w.waitsFor(who.bob)
	w.waitsFor(who.carol, id)
	w.counts(who.carol, "billing-prod", id, api.VerdictApprove)
	events.until("the run is done", func(e event) bool { return e.run.Run == string(id) && e.run.Phase == api.PhaseDone })

	w.events("carol", asked.id).until("what carol missed", func(e event) bool {
		if e.name == "ready" || e.name == "reset" {
			t.Errorf("she is to list again: %s", e.name)
		}
		return e.run.Run == string(id) && e.run.Phase == api.PhaseDone
	})
}

// waitsFor waits until the list of what somebody can decide has these runs.
func (w *world) waitsFor(p *person, ids ...runID) {
	w.t.Helper()
	oldest, me := api.ListRunsParamsOrderOldest, api.ListRunsParamsCanDecideMe
	w.eventually(fmt.Sprintf("%v wait for %s", ids, p.name), func(ctx context.Context) error {
		r, err := p.client.ListRunsWithResponse(ctx, &api.ListRunsParams{CanDecide: &me, Order: &oldest})
		if err != nil || r.JSON200 == nil {
			return errors.Join(err, errors.New("no list"))
		}
		var listed []runID
		for _, run := range r.JSON200.Runs {
			listed = append(listed, runID(run.Run))
		}
		if !slices.Equal(listed, ids) {
			return fmt.Errorf("listed are %v", listed)
		}
		return nil
	})
}

// event is a server-sent event.
type event struct {
	name, id, data string
	run            api.RunSummary
}

// eventReader reads a stream of events.
type eventReader struct {
	w     *world
	lines *bufio.Scanner
}

// events opens a stream of a person's, after the last event that the person received.
func (w *world) events(name, last string) *eventReader {
	w.t.Helper()
	return &eventReader{w, bufio.NewScanner(w.openEvents(http.DefaultClient, "http", name, last))}
}

func (w *world) openEvents(client *http.Client, scheme, name, last string) io.Reader {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url()+"/v1/events", nil)
	w.must(err)
	req.URL.Scheme = scheme
	req.Header.Set("Authorization", "Bearer gantry_"+name)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	answer, err := client.Do(req)
	w.must(err)
	w.t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		w.t.Fatalf("events: %s", answer.Status)
	}
	return answer.Body
}

// until reads on until an event is the one that the test waits for.
func (r *eventReader) until(what string, is func(event) bool) event {
	r.w.t.Helper()
	var e event
	for r.lines.Scan() {
		name, value, _ := strings.Cut(r.lines.Text(), ": ")
		switch name {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
			if e.name == "run" {
				r.w.must(json.Unmarshal([]byte(value), &e.run))
			}
		case "":
			if e.name != "" && is(e) {
				return e
			}
			e = event{}
		}
	}
	r.w.t.Fatalf("the stream ended before %s: %v", what, r.lines.Err())
	return e
}
