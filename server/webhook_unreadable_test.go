package server_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/inbox"
)

// The finding about unreadable events outlives the process, because its remedy is an
// upgrade, and ends a month after the last one.
func TestUnreadableEventsOutliveTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if err := r.inbox.Close(); err != nil {
			t.Fatal(err)
		}
		dir, begin := inMemory(t), time.Now().UTC()
		start := func() (stop func()) {
			box, err := inbox.Open(t.Context(), inbox.Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			r.handler = r.serve(box)
			return func() {
				if err := box.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		stop := start()
		bad := edited(t, func(b map[string]any) { b["stateVersion"] = "five" })
		r.receipt(bad)
		<-time.After(2 * time.Hour)
		newest := r.receipt(bad).Delivery
		stop()
		stop = start()
		defer func() { stop() }()
		accounts := r.accounts()
		found := accounts[0].Findings
		if len(found) != 1 || found[0].Kind != "unreadable-events" || !found[0].Since.Equal(begin) || len(accounts[1].Findings) != 0 {
			t.Fatalf("after a restart: %+v", accounts)
		}
		for _, text := range []string{"acme", ": 2, ", begin.Format(time.RFC3339), begin.Add(2 * time.Hour).Format(time.RFC3339), newest, "stateVersion is a string"} {
			if !strings.Contains(found[0].Summary, text) {
				t.Errorf("no %q in %q", text, found[0].Summary)
			}
		}
		for _, c := range []struct{ days, findings int }{{29, 1}, {2, 0}} {
			stop()
			<-time.After(time.Duration(c.days) * 24 * time.Hour)
			stop = start()
			if found := r.accounts()[0].Findings; len(found) != c.findings {
				t.Errorf("%d days later the findings are %+v, want %d", c.days, found, c.findings)
			}
		}
	})
}
