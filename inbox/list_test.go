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

	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// all follows the pages of a listing and returns the ids.
func all(t testing.TB, in *Inbox, f archive.Filter, size int) (ids []string) {
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
		note := func(name string, d archive.Delivery) {
			ids[name] = d.ID
			pass(time.Minute)
		}
		start := time.Now()
		other := spacelift.RunRef{Account: "other", Stack: "database", Run: "run-1"}
		note("a1", accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued)))
		note("ignored", in.Log(archive.Delivery{Outcome: archive.OutcomeIgnored, Reason: "unmanaged-stack", Run: runRef(3)}))
		note("a2", accept(t, in, notice(other, 0, spacelift.RunStateQueued)))
		note("refused", in.Log(archive.Delivery{Outcome: archive.OutcomeRefused, Reason: "bad-signature"}))
		note("duplicate", accept(t, in, notice(other, 0, spacelift.RunStateQueued)))
		note("a3", accept(t, in, notice(runRef(1), 1, spacelift.RunStateReady)))
		note("unavailable", in.Log(archive.Delivery{Outcome: archive.OutcomeUnavailable, Reason: "not-stored", Run: runRef(1)}))

		check := func(when string) {
			for _, c := range []struct {
				name string
				f    archive.Filter
				want []string
			}{
				{"everything", archive.Filter{}, []string{"unavailable", "a3", "duplicate", "refused", "a2", "ignored", "a1"}},
				{"an outcome", archive.Filter{Outcome: archive.OutcomeAccepted}, []string{"a3", "a2", "a1"}},
				{"another outcome", archive.Filter{Outcome: archive.OutcomeDuplicate}, []string{"duplicate"}},
				{"refused", archive.Filter{Outcome: archive.OutcomeRefused}, []string{"refused"}},
				{"pending", archive.Filter{Forwarding: archive.ForwardingPending}, []string{"a3", "a2", "a1"}},
				{"dead", archive.Filter{Forwarding: archive.ForwardingDead}, nil},
				{"an account", archive.Filter{Accounts: []spacelift.Account{"other"}}, []string{"duplicate", "a2"}},
				{"a stack", archive.Filter{Stacks: []spacelift.StackID{"network"}}, []string{"unavailable", "a3", "ignored", "a1"}},
				{"a run", archive.Filter{Run: "run-1", Accounts: []spacelift.Account{"acme"}}, []string{"unavailable", "a3", "a1"}},
				{"what the caller chooses", archive.Filter{Outcome: archive.OutcomeAccepted, Only: func(run spacelift.RunRef, _ string) bool { return run.Account != "acme" }}, []string{"a2"}},
				{"a reason", archive.Filter{Reason: "unmanaged-stack"}, []string{"ignored"}},
				{"since", archive.Filter{Since: start.Add(4 * time.Minute)}, []string{"unavailable", "a3", "duplicate"}},
				{"until", archive.Filter{Until: start.Add(2 * time.Minute)}, []string{"ignored", "a1"}},
				{"a window", archive.Filter{Since: start.Add(2 * time.Minute), Until: start.Add(4 * time.Minute)}, []string{"refused", "a2"}},
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
			d := in.Log(archive.Delivery{Outcome: archive.OutcomeIgnored, Reason: "x"})
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
					found, next, err := in.List(t.Context(), archive.Filter{}, size, after)
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
			want = append(want, in.Log(archive.Delivery{Outcome: archive.OutcomeIgnored, Reason: "x"}).ID)
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
					in.Log(archive.Delivery{Outcome: archive.OutcomeRefused})
				}
			}
		})
	}
	var got []string
	first, token, err := in.List(t.Context(), archive.Filter{}, 7, "")
	for err == nil {
		for _, d := range first {
			got = append(got, d.ID)
		}
		if token == "" {
			break
		}
		first, token, err = in.List(t.Context(), archive.Filter{}, 7, token)
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
	d := in.Log(archive.Delivery{Outcome: archive.OutcomeRefused, Source: long, Reason: long, Detail: long, Run: spacelift.RunRef{Account: spacelift.Account(long)}})
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
		if _, _, err := in.List(t.Context(), archive.Filter{}, 0, token); !errors.Is(err, ErrBadPageToken) {
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
