package archive

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/spacelift"
)

// The unreadable deliveries are summed up by account, until they are read or trimmed, and
// even after a restart.
func TestUnreadableByAccount(t *testing.T) {
	t.Parallel()
	o := options(filepath.Join(t.TempDir(), "archive.db"), Budgets{Unreadable: Budget{Count: 3}}, func(what string) { t.Error(what) })
	a := openAt(t, o)
	unreadableRow := func(n int64, account spacelift.Account) Row {
		r := row(n)
		r.Outcome, r.Forwarding, r.Index, r.Body, r.Run, r.Detail = OutcomeIgnored, "", 0, []byte("{"), spacelift.RunRef{Account: account}, "it breaks"
		return r
	}
	other := unreadableRow(5, "acme")
	other.Body = nil
	write(t, a, 0, unreadableRow(1, "acme"), unreadableRow(2, "globex"), unreadableRow(3, "acme"), unreadableRow(4, "acme"), other, row(6))
	want := func(when string, acme, globex int, first int64) {
		t.Helper()
		expected := map[spacelift.Account]Unreadable{"acme": {acme, time.UnixMilli(first).UTC(), unreadableRow(4, "acme").Delivery}}
		if globex > 0 {
			expected["globex"] = Unreadable{globex, time.UnixMilli(2).UTC(), unreadableRow(2, "globex").Delivery}
		}
		if diff := cmp.Diff(expected, a.Unreadable()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	want("at first", 3, 1, 1)
	if _, err := a.Trim(t.Context(), 0, true); err != nil {
		t.Fatal(err)
	}
	want("after the oldest was trimmed", 2, 1, 3)
	for _, n := range []int64{2, 5, 6, 7} { // only the first is unreadable
		if err := a.SetRead(t.Context(), n<<16); err != nil {
			t.Fatal(err)
		}
	}
	want("after one was read", 2, 0, 3)
	if r, err := a.Get(t.Context(), 2<<16); err != nil || r.HasBody || r.Outcome != OutcomeIgnored {
		t.Errorf("what was read is %+v (%v)", r, err)
	}
	if r, err := a.Get(t.Context(), 6<<16); err != nil || r.Forwarding != ForwardingPending {
		t.Errorf("what was accepted is %+v (%v)", r, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = openAt(t, o)
	want("after a restart", 2, 0, 3)
	if _, err := a.Trim(t.Context(), 0, true); err != nil {
		t.Fatal(err)
	}
	if body, err := a.Body(t.Context(), 2<<16); err != nil || body != nil {
		t.Errorf("the body of what was read is still there: %q (%v)", body, err)
	}
}
