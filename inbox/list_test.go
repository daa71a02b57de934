package inbox

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/spacelift"
)

// all follows the pages of a listing and returns the ids.
func all(t testing.TB, in *Inbox, f Filter, size int) (ids []string) {
	t.Helper()
	token := ""
	for {
		page, next, err := in.List(t.Context(), f, size, token)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			ids = append(ids, d.ID)
		}
		if next == "" {
			return ids
		}
		if len(page) != size {
			t.Errorf("a page of %d before the last one, want %d", len(page), size)
		}
		token = next
	}
}

func TestListFiltersNewestFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		in := open(t, Options{Dir: dir})
		ids := map[string]string{} // name → id
		note := func(name string, d Delivery) {
			ids[name] = d.ID
			pass(time.Minute)
		}
		start := time.Now()
		other := spacelift.RunRef{Account: "other", Stack: "database", Run: "run-1"}
		note("a1", accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued)))
		note("ignored", in.Log(Delivery{Outcome: OutcomeIgnored, Reason: "unmanaged-stack", Run: runRef(3)}))
		note("a2", accept(t, in, notice(other, 0, spacelift.RunStateQueued)))
		note("refused", in.Log(Delivery{Outcome: OutcomeRefused, Reason: "bad-signature"}))
		note("duplicate", accept(t, in, notice(other, 0, spacelift.RunStateQueued)))
		note("a3", accept(t, in, notice(runRef(1), 1, spacelift.RunStateReady)))
		note("unavailable", in.Log(Delivery{Outcome: OutcomeUnavailable, Reason: "not-stored", Run: runRef(1)}))

		check := func(when string) {
			for _, c := range []struct {
				name string
				f    Filter
				want []string
			}{
				{"everything", Filter{}, []string{"unavailable", "a3", "duplicate", "refused", "a2", "ignored", "a1"}},
				{"an outcome", Filter{Outcome: OutcomeAccepted}, []string{"a3", "a2", "a1"}},
				{"another outcome", Filter{Outcome: OutcomeDuplicate}, []string{"duplicate"}},
				{"refused", Filter{Outcome: OutcomeRefused}, []string{"refused"}},
				{"pending", Filter{Forwarding: ForwardingPending}, []string{"a3", "a2", "a1"}},
				{"dead", Filter{Forwarding: ForwardingDead}, nil},
				{"an account", Filter{Account: "other"}, []string{"duplicate", "a2"}},
				{"a stack", Filter{Stack: "network"}, []string{"unavailable", "a3", "ignored", "a1"}},
				{"a run", Filter{Run: "run-1", Account: "acme"}, []string{"unavailable", "a3", "a1"}},
				{"what the caller chooses", Filter{Outcome: OutcomeAccepted, Only: func(d Delivery) bool { return d.Run.Account != "acme" }}, []string{"a2"}},
				{"a reason", Filter{Reason: "unmanaged-stack"}, []string{"ignored"}},
				{"since", Filter{Since: start.Add(4 * time.Minute)}, []string{"unavailable", "a3", "duplicate"}},
				{"until", Filter{Until: start.Add(2 * time.Minute)}, []string{"ignored", "a1"}},
				{"a window", Filter{Since: start.Add(2 * time.Minute), Until: start.Add(4 * time.Minute)}, []string{"refused", "a2"}},
			} {
				for _, size := range []int{1, 2, 100} {
					var want []string
					for _, name := range c.want {
						want = append(want, ids[name])
					}
					if diff := cmp.Diff(want, all(t, in, c.f, size)); diff != "" {
						t.Errorf("%s: %s by %d (-want +got):\n%s", when, c.name, size, diff)
					}
				}
			}
		}
		check("immediately")
		suffix := in.IDSuffix()
		closeInbox(t, in)
		in = open(t, Options{Dir: dir})
		check("after reopening")
		if got := in.IDSuffix(); got != suffix {
			t.Errorf("after reopening, ids end with %s, want %s", got, suffix)
		}
	})
}

// The pages of several inboxes can be merged by id: a page of each may begin after a
// delivery of any of them.
func TestPagesOfSeveralInboxes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inboxes := []*Inbox{open(t, Options{}), open(t, Options{}), open(t, Options{})}
		var want []string
		for n := range 60 {
			in := inboxes[n%3]
			d := in.Log(Delivery{Outcome: OutcomeIgnored, Reason: "x"})
			if !strings.HasSuffix(d.ID, in.IDSuffix()) || strings.HasSuffix(d.ID, inboxes[(n+1)%3].IDSuffix()) {
				t.Errorf("the id %s doesn't name its inbox alone, which is %s", d.ID, in.IDSuffix())
			}
			want = append(want, d.ID)
			if n%9 == 8 { // some arrive in the same millisecond
				pass(time.Millisecond)
			}
		}
		slices.Sort(want)
		slices.Reverse(want)
		for _, size := range []int{1, 4, 100} {
			var got []string
			for after, more := "", true; more; {
				var page []string
				more = false
				for _, in := range inboxes {
					found, next, err := in.List(t.Context(), Filter{}, size, after)
					if err != nil {
						t.Fatal(err)
					}
					for _, d := range found {
						page = append(page, d.ID)
					}
					more = more || next != ""
				}
				slices.Sort(page)
				slices.Reverse(page)
				if len(page) > size {
					page, more = page[:size], true
				}
				got = append(got, page...)
				after = got[len(got)-1]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("by %d (-want +got):\n%s", size, diff)
			}
		}
	})
}

func TestPagesStayPutWhileDeliveriesArrive(t *testing.T) {
	t.Parallel()
	in := open(t, Options{})
	var want []string
	for n := range 100 {
		if n%3 == 0 {
			want = append(want, in.Log(Delivery{Outcome: OutcomeIgnored, Reason: "x"}).ID)
		} else {
			want = append(want, accept(t, in, notice(runRef(n), 0, spacelift.RunStateQueued)).ID)
		}
	}
	slices.Reverse(want)

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range 2000 {
				select {
				case <-stop:
					return
				default:
					accept(t, in, notice(runRef(1000+w), n, spacelift.RunStateQueued))
					in.Log(Delivery{Outcome: OutcomeRefused})
				}
			}
		})
	}
	var got []string
	first, token, err := in.List(t.Context(), Filter{}, 7, "")
	for err == nil {
		for _, d := range first {
			got = append(got, d.ID)
		}
		if token == "" {
			break
		}
		first, token, err = in.List(t.Context(), Filter{}, 7, token)
	}
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(got, func(a, b string) int { return -cmpString(a, b) }) {
		t.Error("the listing is not sorted newest first")
	}
	if len(got) < 100 || !slices.Equal(got[len(got)-100:], want) {
		t.Errorf("the pages lack what was there, or show it twice: %d ids", len(got))
	}
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestEntriesStayModest(t *testing.T) {
	t.Parallel()
	in := open(t, Options{})
	long := strings.Repeat("é", 100_000)
	d := in.Log(Delivery{Outcome: OutcomeRefused, Source: long, Reason: long, Detail: long, Run: spacelift.RunRef{Account: spacelift.Account(long)}})
	for _, s := range []string{d.Source, d.Reason, d.Detail, string(d.Run.Account)} {
		if len(s) > 1100 || !utf8.ValidString(s) || !strings.HasSuffix(s, "…") {
			t.Errorf("%d bytes of %.20q are kept, want about a kilobyte of whole characters", len(s), s)
		}
	}
}

func TestBadPageTokens(t *testing.T) {
	t.Parallel()
	in := open(t, Options{})
	for _, token := range []string{"x", "AQ", "!!!", "AgGNq83qT3O1rWQkrWOq3m8", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01KDX3V4T8Q2M5N7P9R1S3T5V"} {
		if _, _, err := in.List(t.Context(), Filter{}, 0, token); !errors.Is(err, ErrBadPageToken) {
			t.Errorf("token %q: %v, want ErrBadPageToken", token, err)
		}
	}
}

func TestIDsGrowWhateverTheClockDoes(t *testing.T) {
	t.Parallel()
	var g ids
	now := time.Now()
	last := g.next(now)
	for _, d := range []time.Duration{0, 0, -time.Hour, time.Millisecond, -time.Minute, time.Hour, 0} {
		id := g.next(now.Add(d))
		if id <= last {
			t.Fatalf("%d does not follow %d", id, last)
		}
		last = id
	}
}

// A page costs what it shows, however many deliveries there are: each filter that people
// use finds its rows in an index, in the order of the page.
func TestPagesComeFromAnIndex(t *testing.T) {
	t.Parallel()
	in := open(t, Options{})
	for _, c := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, "SEARCH deliveries USING INTEGER PRIMARY KEY (rowid<?)"},
		{Filter{Run: "run-1"}, "SEARCH deliveries USING INDEX by_run (run=? AND rowid<?)"},
		{Filter{Run: "run-1", Stack: "network", Account: "acme"}, "SEARCH deliveries USING INDEX by_run (run=? AND rowid<?)"},
		{Filter{Run: "run-1", Outcome: OutcomeAccepted, Forwarding: ForwardingPending}, "SEARCH deliveries USING INDEX by_run (run=? AND rowid<?)"},
		{Filter{Stack: "network", Outcome: OutcomeAccepted}, "SEARCH deliveries USING INDEX by_stack (stack=? AND rowid<?)"},
		{Filter{Reason: "unmanaged-stack", Outcome: OutcomeIgnored}, "SEARCH deliveries USING INDEX by_reason (reason=? AND rowid<?)"},
		{Filter{Forwarding: ForwardingDead}, "SEARCH deliveries USING INDEX by_status (status=? AND rowid<?)"},
		{Filter{Outcome: OutcomeRefused, Since: time.Unix(1, 0)}, "SEARCH deliveries USING INDEX by_status (status=? AND rowid>? AND rowid<?)"},
		{Filter{Since: time.Unix(1, 0)}, "SEARCH deliveries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"},
	} {
		where, args := c.filter.where(1 << 60)
		rows, err := in.archive.r.Load().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+selectRow+where+pageOrder, append(args, 50)...)
		if err != nil {
			t.Fatal(err)
		}
		var steps []string
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			steps = append(steps, step)
		}
		if rows.Close(); rows.Err() != nil || len(steps) != 1 || steps[0] != c.want { // a second step would sort
			t.Errorf("%+v: %q (%v), want %q", c.filter, steps, rows.Err(), c.want)
		}
	}
}
