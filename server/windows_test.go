package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// windowsRig is a server with a window in Berlin, a profile that needs it, and a stack of
// that profile.
func windowsRig(t *testing.T) *rig {
	t.Helper()
	rules, err := policy.Compile(policy.Config{
		Windows: []policy.Window{
			{Name: "mornings", TimeZone: "Europe/Berlin", Allow: []policy.Recurrence{{Start: "2000-01-01T09:00", Duration: policy.Duration(3 * time.Hour), RRule: "FREQ=DAILY"}}},
			{Name: "never", TimeZone: "UTC", Allow: []policy.Recurrence{{Start: "2000-01-01T08:00", Duration: policy.Duration(time.Hour)}}},
		},
		Profiles: []policy.Profile{{Name: "production", Windows: []string{"mornings"}}, {Name: "staging"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return newRig(t, func(c *server.Config) {
		c.Policies = func() *policy.Definitions { return rules }
		c.Accounts[0].Stacks = &account{stacks: []spacelift.Stack{
			{Account: "acme", ID: "network-prod", Labels: []string{"gantry:managed", "gantry:profile=production"}},
			{Account: "acme", ID: "app-prod", Labels: []string{"gantry:managed"}},
			{Account: "acme", ID: "misspelt", Labels: []string{"gantry:managed", "gantry:window=mornigns"}},
		}}
	})
}

func (r *rig) calendar(query string) api.Calendar {
	r.t.Helper()
	w := r.get("/v1/accounts/acme/windows"+query, viewerToken)
	if w.Code != http.StatusOK {
		r.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return decode[api.Calendar](r.t, w)
}

// A stack's calendar follows its policy, the window's zone, and the freezes over it.
func TestWindowsOfAStack(t *testing.T) { synctest.Test(t, windowsOfAStack) }

func windowsOfAStack(t *testing.T) { // a bubble begins on 1 January 2000 at midnight
	r := windowsRig(t)
	day := func(n, hour int) time.Time { return time.Date(2000, 1, n, hour, 0, 0, 0, time.UTC) }
	r.temporal.freezes = []policy.Freeze{
		{ID: "F1", Reason: "audit", Stacks: []string{"network-prod"}, From: day(2, 0), Until: day(3, 0), DeclaredBy: "ann", DeclaredAt: day(1, 0)},
		{ID: "F2", Reason: "another stack", Stacks: []string{"app-prod"}, From: day(1, 0), DeclaredBy: "ann", DeclaredAt: day(1, 0)},
		{ID: "F3", Reason: "later", From: day(20, 0), DeclaredBy: "ann", DeclaredAt: day(1, 0)},
	}
	got := r.calendar("?stack=network-prod&days=2")
	closed, frozen := []string{"mornings"}, []string{"F1"}
	want := []api.CalendarPeriod{
		{From: day(1, 0), Until: day(1, 8), Windows: closed, Freezes: []string{}},
		{From: day(1, 8), Until: day(1, 11), Open: true, Windows: []string{}, Freezes: []string{}},
		{From: day(1, 11), Until: day(2, 0), Windows: closed, Freezes: []string{}},
		{From: day(2, 0), Until: day(2, 8), Windows: closed, Freezes: frozen},
		{From: day(2, 8), Until: day(2, 11), Windows: []string{}, Freezes: frozen},
		{From: day(2, 11), Until: day(3, 0), Windows: closed, Freezes: frozen},
	}
	if diff := cmp.Diff(want, got.Rows[0].Periods); diff != "" {
		t.Errorf("periods (-want +got):\n%s", diff)
	}
	if next := got.Rows[0].Next; next == nil || !next.Equal(day(1, 8)) {
		t.Errorf("next %v", next)
	}
	if w := got.Rows[0].Gate.Reason; w == nil || !strings.Contains(*w, "opens Sat 1 Jan 09:00 Europe/Berlin") {
		t.Errorf("gate %s", show(got.Rows[0].Gate))
	}
	if diff := cmp.Diff([]api.Window{{Name: "mornings", TimeZone: "Europe/Berlin"}}, got.Windows); diff != "" {
		t.Error(diff)
	}
	if len(got.Freezes) != 2 || got.Freezes[0].ID != "F1" {
		t.Errorf("freezes %s", show(got.Freezes))
	}
	// The days around another time.
	if got = r.calendar("?stack=app-prod&from=2000-01-19T12:00:00%2B01:00&days=2"); !got.From.Equal(day(19, 11)) || len(got.Rows[0].Periods) != 2 || len(got.Freezes) != 2 {
		t.Errorf("%s", show(got))
	}
}

// Without a stack, the account, the profiles with windows and the windows are listed.
func TestWindowsOfAnAccount(t *testing.T) {
	r := windowsRig(t)
	got := r.calendar("")
	var rows []string
	for _, row := range got.Rows {
		rows = append(rows, row.Kind+" "+row.Name+" "+strings.Join(row.Windows, ","))
	}
	if diff := cmp.Diff([]string{"account acme ", "profile production mornings", "window mornings mornings", "window never never"}, rows); diff != "" {
		t.Error(diff)
	}
	if never := got.Rows[3]; never.Next != nil || never.Gate.Open {
		t.Errorf("a window that never opens again: %s", show(never.Gate))
	}
	if all := got.Rows[0]; all.Next == nil || !all.Gate.Open || len(all.Periods) != 1 {
		t.Errorf("account: %s", show(all))
	}
	if row := r.calendar("?profile=staging").Rows[0]; len(row.Windows) != 0 || !row.Gate.Open {
		t.Errorf("%s", show(row))
	}
	if row := r.calendar("?window=mornings&days=62").Rows[0]; len(row.Periods) < 124 {
		t.Errorf("%d periods in 62 days", len(row.Periods))
	}
}

// What Gantry can't follow is never promised a time.
func TestWindowsOfAMisspeltLabel(t *testing.T) {
	row := windowsRig(t).calendar("?stack=misspelt").Rows[0]
	if row.Next != nil || len(row.Problems) != 1 || row.Problems[0].Label != "gantry:window=mornigns" {
		t.Errorf("%s", show(row))
	}
}

func TestWindowsThatDoNotExist(t *testing.T) {
	r := windowsRig(t)
	for query, detail := range map[string]string{
		"?profile=producton": "meant production?", "?window=morning": "meant mornings?", "?window=x": "no window x", "?stack=nothing": "",
	} {
		p := wantProblem(t, r.get("/v1/accounts/acme/windows"+query, viewerToken), http.StatusNotFound, "not-found")
		if !strings.Contains(*p.Detail, detail) {
			t.Errorf("%s: %s", query, *p.Detail)
		}
	}
	wantProblem(t, r.get("/v1/accounts/acme/windows?stack=a&window=b", viewerToken), http.StatusBadRequest, "bad-request")
	for _, from := range []string{"9999-12-31T00:00:00Z", "9999-12-31T23:00:00-12:00", "0000-01-01T00:00:00Z"} {
		named(t, wantProblem(t, r.get("/v1/accounts/acme/windows?from="+from, viewerToken), http.StatusBadRequest, "bad-request"), "from")
	}
	wantProblem(t, r.get("/v1/accounts/acme/windows?days=63", viewerToken), http.StatusBadRequest, "bad-request")
}

// A caller with a role for some stacks sees no freezes of others, and no other stack's
// calendar.
func TestWindowsInScope(t *testing.T) {
	r, _, _ := scopesRig(t)
	token := tokenFor("viewer", "other stacks") // of app-*
	w := r.get("/v1/accounts/acme/windows", token)
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "network-prod") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	wantProblem(t, r.get("/v1/accounts/acme/windows?stack=network-prod", token), http.StatusForbidden, "forbidden")
	if own := decode[api.Calendar](t, r.get("/v1/accounts/acme/windows?stack=app-prod", token)); !slices.ContainsFunc(own.Rows, func(r api.CalendarRow) bool { return r.Name == "app-prod" }) {
		t.Errorf("%s", show(own))
	}
}
