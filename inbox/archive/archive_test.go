package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/spacelift"
)

func options(path string, keep Budgets, damage func(what string)) Options {
	return Options{Path: path, Keep: keep, Turn: func(context.Context) error { return nil }, Damaged: func(_, what string) { damage(what) }}
}

// open opens an archive that is closed with the test.
func open(t testing.TB, keep Budgets) *DB {
	t.Helper()
	return openAt(t, options(filepath.Join(t.TempDir(), "archive.db"), keep, func(what string) { t.Error(what) }))
}

func openAt(t testing.TB, o Options) *DB {
	t.Helper()
	a, err := Open(t.Context(), o)
	t.Cleanup(func() { _ = a.Close() })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// row is an accepted delivery of its own run.
func row(n int64) Row {
	return Row{Number: n << 16, Index: uint64(n), Delivery: Delivery{
		ID: fmt.Sprint("id-", n), ReceivedAt: time.UnixMilli(n).UTC(), Outcome: OutcomeAccepted, Forwarding: ForwardingPending, Size: 2,
		Run: spacelift.RunRef{Account: "acme", Stack: "network", Run: spacelift.RunID(fmt.Sprint("run-", n))},
	}}
}

func write(t testing.TB, a *DB, through uint64, rows ...Row) {
	t.Helper()
	b := Batch{Through: through}
	for _, r := range rows {
		b.Add(r)
	}
	if err := a.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
}

func list(t testing.TB, a *DB, f Filter) (ids []string) {
	t.Helper()
	rows, more, err := a.List(t.Context(), f, math.MaxInt64, 1000)
	if err != nil || more {
		t.Fatalf("%v, more: %t", err, more)
	}
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

// A result changes a row that the archive has, and one of the same batch; a row that comes
// again is pending again; a body stays beside both.
func TestResultsChangeTheirRows(t *testing.T) {
	t.Parallel()
	a := open(t, Budgets{})
	write(t, a, 1, row(1))
	b := Batch{Through: 3}
	b.Add(row(2))
	b.Finish(Result{Number: 1 << 16, Index: 1, Forwarding: ForwardingForwarded, Attempts: 1, ForwardedAt: 5})
	dead := row(2)
	dead.Body = []byte("{}")
	b.Add(dead)
	b.Finish(Result{Number: 2 << 16, Index: 2, Forwarding: ForwardingDead, Attempts: 3, Error: "too large"})
	if err := a.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	first, err := a.Get(t.Context(), 1<<16)
	want := row(1)
	want.Forwarding, want.Attempts, want.ForwardedAt = ForwardingForwarded, 1, time.UnixMilli(5).UTC()
	if diff := cmp.Diff(&want, first); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	second, err := a.Get(t.Context(), 2<<16)
	want = row(2)
	want.Forwarding, want.Attempts, want.ForwardError, want.HasBody = ForwardingDead, 3, "too large", true
	if diff := cmp.Diff(&want, second); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	body, err := a.Body(t.Context(), 2<<16)
	if err != nil || string(body) != "{}" || a.Dead() != 1 || a.Through() != 3 {
		t.Errorf("body %q (%v), %d dead, through %d", body, err, a.Dead(), a.Through())
	}
	again := row(2)
	again.Index = 4
	b = Batch{Through: 4}
	b.Add(dead)
	b.Finish(Result{Number: 2 << 16, Index: 2, Forwarding: ForwardingDead})
	b.Add(again)
	if err := a.Write(t.Context(), &b); err != nil || b.Len() != 1 || a.Dead() != 0 {
		t.Errorf("redelivered: %v, %d rows, %d dead", err, b.Len(), a.Dead())
	}
	if r, err := a.Get(t.Context(), 2<<16); err != nil || r.Forwarding != ForwardingPending || r.Index != 4 {
		t.Errorf("redelivered: %+v (%v)", r, err)
	}
	if r, err := a.Get(t.Context(), 9); r != nil || err != nil {
		t.Errorf("what was never written is %+v (%v)", r, err)
	}
}

// Each kind has its own budget, pending deliveries have none, and the loss of dead ones is
// reported.
func TestTrimKeepsToEachBudget(t *testing.T) {
	t.Parallel()
	a := open(t, Budgets{Entries: Budget{Count: 4}, Dead: Budget{Count: 2}, Ignored: Budget{Count: 3}, Refused: Budget{Count: 1}, Unreadable: Budget{Count: 2}})
	n := int64(0)
	b := Batch{Through: 60}
	for range 10 {
		for _, kind := range []struct {
			outcome    Outcome
			forwarding Forwarding
			body       bool
		}{
			{OutcomeAccepted, ForwardingPending, false},
			{OutcomeAccepted, ForwardingForwarded, false},
			{OutcomeAccepted, ForwardingDead, true},
			{OutcomeIgnored, "", false},
			{OutcomeRefused, "", false},
			{OutcomeIgnored, "", true},
		} {
			n++
			r := row(n)
			if r.Outcome, r.Forwarding = kind.outcome, kind.forwarding; kind.body {
				r.Body = []byte("0123456789")
			}
			b.Add(r)
		}
	}
	if err := a.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if n := a.Unreadable()["acme"].Count; a.Dead() != 10 || n != 10 {
		t.Errorf("%d are dead, and %d unreadable", a.Dead(), n)
	}
	lost, err := a.Trim(t.Context(), 0, false)
	if err != nil || len(lost) != 8 || lost[0]>>16 != 3 {
		t.Errorf("lost %v (%v), want the 8 oldest dead ones", lost, err)
	}
	for _, c := range []struct {
		filter Filter
		want   int
	}{
		{Filter{Forwarding: ForwardingPending}, 4}, {Filter{Forwarding: ForwardingForwarded}, 4}, {Filter{Forwarding: ForwardingDead}, 2},
		{Filter{Outcome: OutcomeIgnored}, 3 + 2}, {Filter{Outcome: OutcomeRefused}, 1},
	} {
		ids := list(t, a, c.filter)
		if len(ids) != c.want {
			t.Errorf("%+v: %d are left, want %d", c.filter, len(ids), c.want)
		}
		for i, id := range ids {
			if i > 0 && len(id) >= len(ids[i-1]) && id > ids[i-1] {
				t.Errorf("%+v: %s follows %s", c.filter, id, ids[i-1])
			}
		}
	}
	if body, err := a.Body(t.Context(), 3<<16); body != nil || err != nil {
		t.Errorf("the body of a deleted one is %q (%v)", body, err)
	}
	write(t, a, 61, row(61))
	if lost, err := a.Trim(t.Context(), 61, false); lost != nil || err != nil || len(list(t, a, Filter{Forwarding: ForwardingPending})) != 5 {
		t.Errorf("trimmed again within a moment: %v (%v)", lost, err)
	}
	if _, err := a.Trim(t.Context(), 61, true); err != nil {
		t.Fatal(err)
	}
	if ids := list(t, a, Filter{Forwarding: ForwardingPending}); !slices.Equal(ids, []string{"id-61"}) {
		t.Errorf("pending are %v, want what the log still has", ids)
	}
}

// A damaged file is put aside, whenever that is found, and the new one asks for everything.
func TestDamagedFileIsReplaced(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
	}{
		{"it is something else", func([]byte) []byte { return []byte("this is not an archive of deliveries\n") }},
		{"a page is garbage", func(b []byte) []byte { copy(b[4096:8192], bytes.Repeat([]byte("garbage!"), 512)); return b }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "archive.db")
			var said []string
			o := options(path, Budgets{}, func(what string) { said = append(said, what) })
			a := openAt(t, o)
			write(t, a, 7, row(1))
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, c.damage(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			a = openAt(t, o)
			aside, _ := filepath.Glob(path + ".damaged-*Z")
			if len(aside) != 1 || len(said) != 1 || !strings.Contains(said[0], aside[0]) || a.Through() != 0 || len(list(t, a, Filter{})) != 0 {
				t.Errorf("put aside %v, said %q, through %d", aside, said, a.Through())
			}
			write(t, a, 7, row(1))
		})
	}
	t.Run("while it is open", func(t *testing.T) {
		t.Parallel()
		var said []string
		a := openAt(t, options(filepath.Join(t.TempDir(), "archive.db"), Budgets{}, func(what string) { said = append(said, what) }))
		write(t, a, 7, row(1))
		if _, err := a.w.ExecContext(t.Context(), "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'by_run'; PRAGMA writable_schema = RESET"); err != nil {
			t.Fatal(err)
		}
		b := Batch{Through: 8}
		b.Add(row(2))
		if err := a.Write(t.Context(), &b); !errors.Is(err, ErrReplaced) || a.Through() != 0 || len(said) != 1 {
			t.Fatalf("%v, through %d, said %q; want ErrReplaced", err, a.Through(), said)
		}
		write(t, a, 8, row(1), row(2))
	})
}

func TestOtherFormatIsRefused(t *testing.T) {
	t.Parallel()
	a := open(t, Budgets{})
	if _, err := a.w.ExecContext(t.Context(), "PRAGMA user_version = 2"); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), a.opts)
	t.Cleanup(func() { _ = again.Close() })
	if err == nil || !strings.Contains(err.Error(), "format 2, this one reads 3") {
		t.Errorf("%v", err)
	}
}

// Pages have each row once, and what Only leaves out doesn't make them shorter.
func TestPagesFollowEachOther(t *testing.T) {
	t.Parallel()
	a := open(t, Budgets{})
	for n := range int64(50) {
		write(t, a, uint64(n+1), row(n+1))
	}
	odd := func(run spacelift.RunRef, _ string) bool {
		return strings.ContainsAny(string(run.Run[len(run.Run)-1:]), "13579")
	}
	var got []int64
	for before, more := int64(math.MaxInt64), true; more; {
		var page []Row
		var err error
		if page, more, err = a.List(t.Context(), Filter{Only: odd, Since: time.UnixMilli(11), Until: time.UnixMilli(42)}, before, 4); err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			got, before = append(got, r.Number>>16), r.Number
		}
	}
	var want []int64
	for n := int64(41); n >= 11; n -= 2 {
		want = append(want, n)
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages %v, want %v", got, want)
	}
}

// plan returns how SQLite finds the page of a filter, apart from the order of merging.
func plan(t *testing.T, a *DB, f Filter) (steps []string) {
	t.Helper()
	q := f.query(1 << 60)
	rows, err := a.r.Load().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q.String(), q.args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		if step != "MERGE (UNION ALL)" && step != "LEFT" && step != "RIGHT" {
			steps = append(steps, step)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}

// A page costs what it shows, however many deliveries there are: each filter that people
// use finds its rows in an index, in the order of the page.
func TestPagesComeFromAnIndex(t *testing.T) {
	t.Parallel()
	a := open(t, Budgets{})
	const (
		byNumber = "SEARCH deliveries USING INTEGER PRIMARY KEY "
		index    = "SEARCH deliveries USING INDEX "
	)
	minute := time.Unix(60, 0)
	for _, c := range []struct {
		filter Filter
		n      int // of values that are merged
		want   string
	}{
		{Filter{}, 1, byNumber + "(rowid<?)"},
		{Filter{Since: minute}, 1, byNumber + "(rowid>? AND rowid<?)"},
		{Filter{Until: minute}, 1, byNumber + "(rowid<?)"}, // List knows the number
		{Filter{Run: "run-1"}, 1, index + "by_run (run=? AND rowid<?)"},
		{Filter{Run: "run-1", Stacks: []spacelift.StackID{"network", "web"}, Accounts: []spacelift.Account{"acme"}}, 1, index + "by_run (run=? AND rowid<?)"},
		{Filter{Run: "run-1", Reason: "unmanaged-stack"}, 1, index + "by_run (run=? AND rowid<?)"},
		{Filter{Run: "run-1", Outcome: OutcomeAccepted, Forwarding: ForwardingPending}, 1, index + "by_run (run=? AND rowid<?)"},
		{Filter{Stacks: []spacelift.StackID{"network"}, Outcome: OutcomeAccepted}, 1, index + "by_stack (stack=? AND rowid<?)"},
		{Filter{Stacks: []spacelift.StackID{"network", "web", "app"}}, 3, index + "by_stack (stack=? AND rowid<?)"},
		{Filter{Stacks: make([]spacelift.StackID, maxMerged+1), Accounts: []spacelift.Account{"acme"}}, len(statuses), index + "by_account (account=? AND status=? AND rowid<?)"},
		{Filter{Stacks: make([]spacelift.StackID, maxMerged+1)}, 1, byNumber + "(rowid<?)"},
		{Filter{Reason: "unmanaged-stack", Outcome: OutcomeIgnored}, 1, index + "by_reason (reason=? AND rowid<?)"},
		{Filter{Accounts: []spacelift.Account{"acme"}}, len(statuses), index + "by_account (account=? AND status=? AND rowid<?)"},
		{Filter{Accounts: []spacelift.Account{"acme"}, Forwarding: ForwardingForwarded, Since: minute}, 1, index + "by_account (account=? AND status=? AND rowid>? AND rowid<?)"},
		{Filter{Accounts: []spacelift.Account{"acme", "other"}, Outcome: OutcomeAccepted}, 8, index + "by_account (account=? AND status=? AND rowid<?)"},
		{Filter{Forwarding: ForwardingDead}, 1, index + "by_status (status=? AND rowid<?)"},
		{Filter{Outcome: OutcomeAccepted}, 4, index + "by_status (status=? AND rowid<?)"},
		{Filter{Outcome: OutcomeIgnored}, 2, index + "by_status (status=? AND rowid<?)"},
		{Filter{Outcome: OutcomeRefused, Since: minute}, 1, index + "by_status (status=? AND rowid>? AND rowid<?)"},
	} {
		if diff := cmp.Diff(slices.Repeat([]string{c.want}, c.n), plan(t, a, c.filter)); diff != "" { // a further step would sort
			t.Errorf("%+v (-want +got):\n%s", c.filter, diff)
		}
	}
}

// Until is a bound of numbers, though these may be late: a request takes time, and after
// a clock was set back they are ahead of it.
func TestUntilBoundsNumbers(t *testing.T) {
	t.Parallel()
	a := open(t, Budgets{})
	for _, lag := range []time.Duration{0, 30 * time.Millisecond, time.Hour} {
		n := int64(1e9) + lag.Milliseconds()*2
		late, next := row(n), row(n+1)
		late.ReceivedAt = late.ReceivedAt.Add(-lag)
		until := late.ReceivedAt.Add(time.Microsecond)
		next.ReceivedAt = until
		write(t, a, uint64(n), late, next)
		for range 2 {
			if ids := list(t, a, Filter{Since: late.ReceivedAt, Until: until}); !slices.Equal(ids, []string{late.ID}) {
				t.Errorf("late by %v: %v, want %s", lag, ids, late.ID)
			}
			if first, last := late.Number, until.Add(lag+2*time.Millisecond).UnixMilli()<<16; a.numbersUntil(until) <= first || a.numbersUntil(until) > last {
				t.Errorf("late by %v: numbers until %d, want between %d and %d", lag, a.numbersUntil(until), first, last)
			}
			a = openAt(t, a.opts)
		}
	}
	for _, c := range []struct {
		filter Filter
		want   int
	}{
		{Filter{Since: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)}, 6}, {Filter{Until: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}, 6},
		{Filter{Since: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}, 0}, {Filter{Until: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)}, 0},
	} {
		if ids := list(t, a, c.filter); len(ids) != c.want {
			t.Errorf("since %v until %v: %v, want %d", c.filter.Since, c.filter.Until, ids, c.want)
		}
	}
}

// What a caller may not see costs nothing where the filter names accounts or stacks, and is
// never decoded.
func TestForeignDeliveriesAreNotRead(t *testing.T) {
	t.Parallel()
	a := open(t, Budgets{})
	b := Batch{Through: 1}
	var want []string
	for n := int64(1); n <= 10_000; n++ {
		r := row(n)
		if n%1000 == 0 {
			r.Run.Account, r.Run.Stack = "other", "web"
			want = append([]string{r.ID}, want...)
		}
		b.Add(r)
	}
	if err := a.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if _, err := a.w.ExecContext(t.Context(), "UPDATE deliveries SET doc = 'no JSON' WHERE account = 'acme'"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		filter Filter
		most   int // deliveries that are read
	}{
		{Filter{Accounts: []spacelift.Account{"other", "third"}}, 10},
		{Filter{Stacks: []spacelift.StackID{"app", "web"}}, 10},
		{Filter{Accounts: []spacelift.Account{"other"}, Stacks: []spacelift.StackID{"network", "web"}, Outcome: OutcomeAccepted}, 10},
		{Filter{Outcome: OutcomeAccepted}, 10_000},
	} {
		read := 0
		c.filter.Only = func(run spacelift.RunRef, _ string) bool {
			read++
			return run.Account == "other"
		}
		if got := list(t, a, c.filter); !slices.Equal(got, want) || read > c.most {
			t.Errorf("%+v: %v after %d, want %v after %d at most", c.filter, got, read, want, c.most)
		}
	}
	for _, none := range []Filter{{Accounts: []spacelift.Account{}}, {Stacks: []spacelift.StackID{}}, {Outcome: OutcomeRefused, Forwarding: ForwardingDead}} {
		if got := list(t, a, none); got != nil {
			t.Errorf("%+v: %v, want none", none, got)
		}
	}
}

// An archive from before the index by account gets it, and keeps what it has.
func TestOlderArchiveGetsItsIndex(t *testing.T) {
	t.Parallel()
	a := open(t, Budgets{})
	dead := row(1)
	dead.Forwarding, dead.Body = ForwardingDead, []byte("{}")
	write(t, a, 7, dead)
	if _, err := a.w.ExecContext(t.Context(), "DROP INDEX by_account"); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = openAt(t, a.opts)
	body, err := a.Body(t.Context(), dead.Number)
	if err != nil || string(body) != "{}" || a.Dead() != 1 || a.Through() != 7 {
		t.Errorf("body %q (%v), %d dead, through %d", body, err, a.Dead(), a.Through())
	}
	acme := Filter{Accounts: []spacelift.Account{"acme"}}
	if steps := plan(t, a, acme); !strings.Contains(strings.Join(steps, "\n"), "by_account") || len(list(t, a, acme)) != 1 {
		t.Errorf("by account: %q, %v", steps, list(t, a, acme))
	}
}

// Results of rows that the archive lacks count too: a batch of nothing else would have no end.
func TestABatchCountsResults(t *testing.T) {
	t.Parallel()
	var b Batch
	for n := range int64(800) {
		b.Finish(Result{Number: n, Forwarding: ForwardingForwarded})
	}
	if n := b.Len(); n != 100 {
		t.Errorf("a batch of 800 results has the size of %d rows, want 100", n)
	}
}
