package activities

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// lister is an account that lists stacks, and takes its time.
type lister struct {
	Spacelift
	takes  time.Duration
	away   bool
	stacks []spacelift.LabelledStack
	calls  atomic.Int64
}

func (l *lister) RunURL(spacelift.RunRef) string { return "" }

func (l *lister) LabelsOfStacks(ctx context.Context) ([]spacelift.LabelledStack, error) {
	l.calls.Add(1)
	if l.away {
		return nil, errors.New("connection refused")
	}
	found := l.stacks
	select {
	case <-time.After(l.takes): // fake time
		return found, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var appFollows = []spacelift.LabelledStack{
	{ID: "network-prod", Labels: []string{"gantry:managed"}},
	{ID: "app-prod", Labels: []string{"gantry:managed", "gantry:after=network-prod"}},
	{ID: "web-prod", Labels: []string{"gantry:after=network-prod"}}, // not managed
}

// whoFollows returns the followers that a run of network-prod reads at its start.
func whoFollows(t *testing.T, a *Activities) *managed.Followers {
	t.Helper()
	rules, err := a.ReadRules(t.Context(), ReadRulesInput{
		Run: spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01"}, Labels: []string{"gantry:managed"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return rules.Followers
}

// Listing the stacks takes longer than an activity waits for it. What an old list
// says of who follows still counts, and what it says of nobody does not.
func TestAnOldListDoesNotSayThatNobodyFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &lister{takes: 4 * time.Second}
		a := &Activities{Accounts: map[spacelift.Account]Spacelift{"acme": api}}
		if f := whoFollows(t, a); f != nil {
			t.Errorf("%+v follow before the first list is there", f)
		}
		<-time.After(5 * time.Second)
		if f := whoFollows(t, a); f == nil || f.Any() {
			t.Errorf("%+v follow, want nobody", f)
		}
		<-time.After(time.Minute)
		api.stacks = appFollows
		<-time.After(8 * time.Minute)
		if f := whoFollows(t, a); f != nil {
			t.Errorf("a list of 9 minutes ago says that %+v follow", f)
		}
		<-time.After(5 * time.Second)
		if f := whoFollows(t, a); f == nil || !f.Any() {
			t.Errorf("%+v follow, want app-prod", f)
		}
		api.away = true
		<-time.After(9 * time.Minute)
		if f := whoFollows(t, a); f == nil || !f.Any() {
			t.Errorf("%+v follow, want app-prod as of 9 minutes ago", f)
		}
		if _, err := a.ReadChain(t.Context(), ReadChainInput{Account: "acme", Root: "network-prod"}); err == nil {
			t.Error("a chain was read from a list of 9 minutes ago")
		}
		<-time.After(2 * time.Minute)
		if f := whoFollows(t, a); f != nil {
			t.Errorf("a list of 11 minutes ago says that %+v follow", f)
		}
	})
}

// Another replica may have the newer list. What a run knows from that, a chain's list
// must know too: otherwise the chain ends, because nobody follows.
func TestAChainReadsAListThatIsAsNewAsItsRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &lister{}
		a := &Activities{Accounts: map[spacelift.Account]Spacelift{"acme": api}}
		b := &Activities{Accounts: map[spacelift.Account]Spacelift{"acme": api}}
		if f := whoFollows(t, a); f == nil || f.Any() {
			t.Fatalf("%+v follow, want nobody", f)
		}
		<-time.After(time.Second)
		api.stacks = appFollows
		f := whoFollows(t, b)
		if f == nil || !f.Any() {
			t.Fatalf("%+v follow, want app-prod", f)
		}
		g, err := a.ReadChain(t.Context(), ReadChainInput{Account: "acme", Root: "network-prod", Since: f.At})
		if err != nil || g.Size != 1 || g.At.Before(f.At) {
			t.Errorf("the chain has %+v, %v, want app-prod", g, err)
		}
	})
}

// A replica whose clock is ahead may take an old list for a new one. It reads another one
// if a stack is missing that is known to follow, and only then.
func TestAListOfAFastClockIsNoReasonToForgetAFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &lister{}
		ahead := &Activities{
			Accounts: map[spacelift.Account]Spacelift{"acme": api},
			Now:      func() time.Time { return time.Now().Add(3 * time.Minute) },
		}
		if f := whoFollows(t, ahead); f == nil || f.Any() {
			t.Fatalf("%+v follow, want nobody", f)
		}
		<-time.After(time.Second)
		api.stacks = appFollows
		in := ReadChainInput{Account: "acme", Root: "network-prod", Since: time.Now(), Followers: []spacelift.StackID{"app-prod"}}
		for range 3 {
			if g, err := ahead.ReadChain(t.Context(), in); err != nil || g.Size != 1 || api.calls.Load() != 2 {
				t.Errorf("the chain has %+v, %v, want app-prod after 2 lists, not %d", g, err, api.calls.Load())
			}
		}
		api.stacks = nil // app-prod really follows no more
		<-time.After(time.Minute)
		if g, err := ahead.ReadChain(t.Context(), ReadChainInput{Account: "acme", Root: "network-prod", Since: ahead.now()}); err != nil || g.Size != 0 {
			t.Errorf("the chain has %+v, %v, want nobody", g, err)
		}
		<-time.After(time.Second)
		if g, err := ahead.ReadChain(t.Context(), in); err != nil || g.Size != 0 || api.calls.Load() != 4 {
			t.Errorf("the chain has %+v, %v, want nobody after 4 lists, not %d", g, err, api.calls.Load())
		}
	})
}

// A replica that has no call left doesn't guess.
func TestAChainDoesNotGuessFromAnOldList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Activities{Accounts: map[spacelift.Account]Spacelift{"acme": &lister{}}}
		var err error
		for range graphSaved + 2 {
			<-time.After(time.Second)
			_, err = a.ReadChain(t.Context(), ReadChainInput{Account: "acme", Root: "network-prod", Since: time.Now()})
		}
		if err == nil {
			t.Error("an older list says who follows")
		}
	})
}

// In a day with a run a minute, each of which asks when it begins and when it is
// confirmed, and begins a chain, all replicas together make at most 1,500 calls.
// The number of stacks does not matter: a list is one call.
func TestWhoFollowsCostsLittle(t *testing.T) {
	const day, most = 24 * time.Hour, 1500
	doc, err := os.ReadFile("../docs/operations/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"| who follows, one replica | 500 | 1,500 |", "| who follows, three replicas | 1,500 | 1,500 |"} {
		if !strings.Contains(string(doc), row) {
			t.Errorf("the table of costs lacks %q", row)
		}
	}
	for _, replicas := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("%d replicas", replicas), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &lister{takes: 2 * time.Second, stacks: appFollows}
				var all []*Activities
				for range replicas {
					all = append(all, &Activities{Accounts: map[spacelift.Account]Spacelift{"acme": api}})
				}
				began := time.Now()
				var oldest time.Duration
				unsure, asked := 0, 0
				for n := 0; time.Since(began) < day; n++ {
					for i := range 3 {
						a := all[(n+i)%replicas]
						asked++
						if i == 2 {
							if g, err := a.ReadChain(t.Context(), ReadChainInput{Account: "acme", Root: "network-prod"}); err != nil || len(g.Stacks) != 1 {
								t.Fatalf("%+v, %v", g, err)
							}
						} else if f := whoFollows(t, a); f == nil {
							unsure++
						} else {
							oldest = max(oldest, time.Since(f.At))
						}
						<-time.After(20 * time.Second)
					}
				}
				calls := api.calls.Load()
				t.Logf("%d questions cost %d calls in a day; the oldest list was of %s ago, and %d were not answered in time", asked, calls, oldest, unsure)
				if calls > most || calls > int64(500*replicas) {
					t.Errorf("%d calls a day, want at most %d", calls, min(most, 500*replicas))
				}
				if oldest > nobodyGood || unsure > replicas {
					t.Errorf("the oldest list was of %s ago, and %d were not answered", oldest, unsure)
				}
			})
		})
	}
}

// A replica that was idle has calls left for a burst, and asks no more often than
// every ten seconds even then.
func TestABurstOfRunsReadsFreshLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &lister{stacks: appFollows}
		a := &Activities{Accounts: map[spacelift.Account]Spacelift{"acme": api}}
		for range 30 {
			if f := whoFollows(t, a); f == nil || time.Since(f.At) >= 10*time.Second {
				t.Errorf("%+v, want a list of less than 10 s ago", f)
			}
			<-time.After(4 * time.Second)
		}
		if n := api.calls.Load(); n != 10 {
			t.Errorf("%d calls in two minutes, want one every 12 s", n)
		}
	})
}

// An end looks for runs that wait among the followers that are known, and spends no call on
// the list: chains need those.
func TestAnEndSpendsNoCallOnFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &lister{stacks: appFollows}
		a := &Activities{Accounts: map[spacelift.Account]Spacelift{"acme": api}}
		if by := a.knownFollowers("acme"); by != nil {
			t.Errorf("before any list is read: %v", by)
		}
		whoFollows(t, a)
		calls := api.calls.Load()
		if by := a.knownFollowers("acme"); len(by["network-prod"]) != 1 || by["network-prod"][0] != "app-prod" || len(by["app-prod"]) > 0 {
			t.Errorf("%v, want app-prod behind network-prod", by)
		}
		<-time.After(time.Hour) // fake time
		if by := a.knownFollowers("acme"); by != nil || api.calls.Load() != calls {
			t.Errorf("by an old list: %v, after %d calls", by, api.calls.Load())
		}
	})
}

// A chain whose run learned of its followers from a machine with a clock ahead reads them
// all the same, by a list from after that.
func TestAListIsNewEnoughWhenClocksAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &lister{stacks: appFollows}
		a := &Activities{Accounts: map[spacelift.Account]Spacelift{"acme": api}}
		whoFollows(t, a)
		<-time.After(time.Minute)
		after, at, err := a.follows(t.Context(), "acme", time.Now().Add(5*time.Minute))
		if err != nil || len(after) != 2 || at.Before(time.Now().Add(-time.Second)) || api.calls.Load() != 2 {
			t.Errorf("%v at %s, %v, after %d lists", after, at, err, api.calls.Load())
		}
	})
}
