package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A list that is watched is printed again when it changes, even after Gantry was away. On a
// terminal it replaces the one before.
func TestWatchedLists(t *testing.T) {
	newAPIRig(t)
	stopClock(t)
	watchPause = time.Millisecond
	t.Cleanup(func() { watchPause = 2 * time.Second })
	for _, tt := range []struct {
		columns int
		args    []string
		want    string
	}{
		{0, nil, "STACK  STATE    STARTED  RUN\na/s    PLANNI�  60m ago  01A\n\nSTACK  STATE     STARTED  RUN\na/s    FINISHED  60m ago  01A\n"},
		{0, []string{"-o", "name"}, "a/s/01A\n"},
		{0, []string{"--jq", ".runs[].state"}, "PLANNI�\nFINISHED\n"},
		{80, nil, "\x1b[2J\x1b[HSTACK  STATE    STARTED  RUN\na/s    PLANNI�  60m ago  01A\n\x1b[2J\x1b[HSTACK  STATE     STARTED  RUN\na/s    FINISHED  60m ago  01A\n"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		asked := 0
		gantry := fakeGantry(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked++
			state := `PLANNI\u001b`
			switch {
			case asked == 2:
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, `{"type":"urn:gantry:problem:unavailable","title":"Temporal is down","status":503}`)
				return
			case asked > 3:
				state = "FINISHED"
			}
			if asked > 5 {
				interrupt()
			}
			fmt.Fprintf(w, `{"runs":[{"account":"a","stack":"s","run":"01A","state":"%s","phase":"queued","startedAt":"2026-01-05T12:00:00Z"}]}`, state)
		}))
		defer gantry.Close()
		var complaints strings.Builder
		out := &screen{columns: tt.columns}
		t.Setenv("NO_COLOR", "1")
		code := run(ctx, append([]string{"runs", "list", "--watch", "--url", gantry.URL}, tt.args...), nil, anyWriter(out), &complaints)
		if out.String() != tt.want || code != 0 {
			t.Errorf("%v: exit code %d, printed\n%q\nwant\n%q", tt.args, code, out.String(), tt.want)
		}
		if !strings.Contains(complaints.String(), "Temporal is down") {
			t.Errorf("it complains %q", complaints.String())
		}
	}
	r := newAPIRig(t)
	r.as("gantry_wrong")
	r.refused(exitRefused, []string{"invalid token"}, "runs", "list", "--watch")
}
