package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gantryhq/gantry/cmd/gantry/internal/waiting"
)

// hurry shortens what lists wait for between two readings.
func hurry(t *testing.T) {
	t.Helper()
	poll, settle, age, retry := pollPause, settlePause, agePause, waiting.RetryPause
	t.Cleanup(func() { pollPause, settlePause, agePause, waiting.RetryPause = poll, settle, age, retry })
	pollPause, settlePause, agePause, waiting.RetryPause = time.Millisecond, time.Millisecond, time.Hour, time.Millisecond
}

const noStream = `{"type":"urn:gantry:problem:too-many-streams","title":"Too many streams","status":429}`

// A list that is watched is printed again when it changes, even after Gantry was away. On a
// terminal it replaces the one before. Without events, it is read at intervals.
func TestWatchedLists(t *testing.T) {
	newAPIRig(t)
	stopClock(t)
	hurry(t)
	for _, tt := range []struct {
		columns int
		args    []string
		want    string
	}{
		{0, nil, "STACK  STATE    STARTED  RUN\na/s    PLANNI�  60m ago  01A\n\nSTACK  STATE     STARTED  RUN\na/s    FINISHED  60m ago  01A\n"},
		{0, []string{"-o", "name"}, "a/s/01A\n"},
		{0, []string{"--jq", ".runs[].state"}, "PLANNI�\nFINISHED\n"},
		{80, nil, "\x1b[2J\x1b[?2026h\x1b[HSTACK  STATE    STARTED  RUN\x1b[K\na/s    PLANNI�  60m ago  01A\x1b[K\n\x1b[J\x1b[?2026l" +
			"\x1b[?2026h\x1b[HSTACK  STATE    STARTED  RUN\x1b[K\na/s    PLANNI�  60m ago  01A\x1b[K\ngantry: Temporal is down\x1b[K\n\x1b[J\x1b[?2026l" +
			"\x1b[?2026h\x1b[HSTACK  STATE    STARTED  RUN\x1b[K\na/s    PLANNI�  60m ago  01A\x1b[K\n\x1b[J\x1b[?2026l" + // over the complaint
			"\x1b[?2026h\x1b[HSTACK  STATE     STARTED  RUN\x1b[K\na/s    FINISHED  60m ago  01A\x1b[K\n\x1b[J\x1b[?2026l\n"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		asked := 0
		gantry := fakeGantry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/events" {
				w.WriteHeader(http.StatusTooManyRequests)
				fmt.Fprint(w, noStream)
				return
			}
			asked++
			state := `PLANNI\u001b`
			switch {
			case asked == 2 || asked == 3:
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, `{"type":"urn:gantry:problem:unavailable","title":"Temporal is down","status":503}`)
				return
			case asked > 4:
				state = "FINISHED"
			}
			if asked > 6 {
				interrupt()
			}
			fmt.Fprintf(w, `{"runs":[{"account":"a","stack":"s","run":"01A","state":"%s","phase":"queued","startedAt":"2026-01-05T12:00:00Z"}]}`, state)
		}))
		var complaints strings.Builder
		out := &screen{columns: tt.columns}
		t.Setenv("NO_COLOR", "1")
		code := run(ctx, append([]string{"runs", "list", "--watch", "--url", gantry.URL}, tt.args...), nil, anyWriter(out), &complaints)
		if out.String() != tt.want || code != 0 {
			t.Errorf("%v: exit code %d, printed\n%q\nwant\n%q", tt.args, code, out.String(), tt.want)
		}
		want := "gantry: Temporal is down\n"
		if tt.columns > 0 { // it is on the screen
			want = ""
		}
		if complaints.String() != want {
			t.Errorf("it complains %q", complaints.String())
		}
	}
	r := newAPIRig(t)
	r.as("gantry_wrong")
	r.refused(exitRefused, []string{"invalid token"}, "runs", "list", "--watch")
}

// With events, a list is read after those that concern it, and after a restart of Gantry.
func TestWatchedListsFollowEvents(t *testing.T) {
	newAPIRig(t)
	hurry(t)
	pollPause = time.Hour
	for _, tt := range []struct{ list, kind, other string }{{"runs", "run", "chain"}, {"chains", "chain", "run"}, {"waiting", "run", "account"}} {
		ctx, interrupt := context.WithCancel(t.Context())
		var lists, streams atomic.Int64
		read := make(chan struct{}, 10)
		gantry := fakeGantry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/events" {
				lists.Add(1)
				read <- struct{}{}
				fmt.Fprint(w, `{"runs":[],"chains":[]}`)
				return
			}
			send := func(text string) {
				fmt.Fprint(w, text)
				_ = http.NewResponseController(w).Flush()
			}
			if streams.Add(1) == 1 {
				<-read // the first, before the stream
				send("retry: 1\n\nevent: ready\nid: 1\ndata: {}\n\n")
				<-read
				send("event: " + tt.other + "\nid: 2\ndata: {}\n\nevent: " + tt.kind + "\nid: 3\ndata: {}\n\n")
				<-read
				return // Gantry restarts
			}
			if got := r.Header.Get("Last-Event-ID"); got != "3" {
				t.Errorf("%s: continues behind %q", tt.list, got)
			}
			send("event: reset\nid: 4\ndata: {}\n\n")
			<-read
			interrupt()
		}))
		args := []string{tt.list, "list"}
		if tt.list == "waiting" {
			args = []string{"waiting"}
		}
		var out, complaints strings.Builder
		code := run(ctx, append(args, "--watch", "--account", "acme", "--url", gantry.URL), nil, &out, &complaints)
		if code != 0 || complaints.String() != "" || lists.Load() != 4 {
			t.Errorf("%s: exit code %d, read %d times, complains %q", tt.list, code, lists.Load(), complaints.String())
		}
	}
}
