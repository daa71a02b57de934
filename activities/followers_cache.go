package activities

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	// maxFollowers bounds the followers that are named: they end up in every history.
	maxFollowers = 20

	// graphFresh is the age at which a list of stacks is read again, if there is a
	// call left for it.
	graphFresh = 10 * time.Second

	// A replica may read the list once in graphEvery, and saves up to graphSaved
	// calls for times when many runs begin: at most 500 calls a day. So three
	// replicas stay below 1,500, however many runs there are.
	graphEvery = 3 * time.Minute
	graphSaved = 20

	// followersGood is the lifetime of a list for a stack that has followers in it.
	// nobodyGood is the lifetime for a stack without followers: acting on an outdated
	// list would forget a chain.
	followersGood = 10 * time.Minute
	nobodyGood    = 5 * time.Minute

	// followersWait bounds an activity's wait for a list that is being read, and
	// graphRead bounds the reading.
	followersWait = time.Second
	graphRead     = time.Minute
)

// graphCache is a replica's knowledge of which stack follows which. Every run asks
// it at its start, so a run without followers need not ask at its end, and every
// chain asks it at its start. Replicas share nothing: sharing would cost more than
// the calls.
type graphCache struct {
	mu       sync.Mutex
	accounts map[spacelift.Account]*knownGraph
}

type knownGraph struct {
	after   map[spacelift.StackID]chain.Following     // the stacks that each managed stack follows; nil: not known
	by      map[spacelift.StackID][]spacelift.StackID // the followers of each stack
	at      time.Time                                 // when the reading of the list began
	err     error                                     // of the last attempt to read it
	tried   time.Time                                 // when that began
	reading chan struct{}                             // closed once that has ended; nil when nobody reads

	calls  float64 // that are left, at a time
	filled time.Time
}

// spend takes one of the calls that are left; false if there is none.
func (k *knownGraph) spend(now time.Time) bool {
	if k.filled.IsZero() {
		k.calls, k.filled = graphSaved, now
	}
	if passed := now.Sub(k.filled); passed > 0 {
		k.calls, k.filled = min(graphSaved, k.calls+passed.Seconds()/graphEvery.Seconds()), now
	}
	if k.calls < 1 {
		return false
	}
	k.calls--
	return true
}

// followersOf returns the followers of a stack; nil when they are not known:
// Spacelift did not answer in time, or the list without followers is outdated.
func (a *Activities) followersOf(ctx context.Context, account spacelift.Account, stack spacelift.StackID) *managed.Followers {
	if _, ok := a.Accounts[account]; !ok {
		return nil
	}
	graph := a.graph(ctx, account, followersWait, time.Time{})
	all, age := graph.by[stack], a.now().Sub(graph.at)
	if graph.by == nil || age >= followersGood || len(all) == 0 && age >= nobodyGood {
		return nil
	}
	named := all[:min(len(all), maxFollowers)]
	return &managed.Followers{Stacks: named, More: len(all) - len(named), At: graph.at}
}

// errListOld means that the last list of stacks is too old.
var errListOld = errors.New("spacelift did not list the stacks in time")

// follows returns the stacks that each managed stack of an account follows, and
// when Spacelift was asked for them: not before since.
func (a *Activities) follows(ctx context.Context, account spacelift.Account, since time.Time) (map[spacelift.StackID]chain.Following, time.Time, error) {
	if _, err := a.account(account); err != nil {
		return nil, time.Time{}, err
	}
	if now := a.now(); since.After(now) {
		since = now // by another machine's clock: a list from now on is as new
	}
	graph := a.graph(ctx, account, graphRead, since)
	if graph.at.Before(since) { // that waited for a list that was being read before
		graph = a.graph(ctx, account, graphRead, since)
	}
	switch {
	case graph.after != nil && a.now().Sub(graph.at) < nobodyGood && !graph.at.Before(since):
		return graph.after, graph.at, nil
	case ctx.Err() != nil:
		return nil, time.Time{}, classify(ctx, ctx.Err())
	case graph.err != nil:
		return nil, time.Time{}, classify(ctx, graph.err)
	}
	return nil, time.Time{}, errListOld
}

// graph returns which stack follows which, once a list that is due has been read or
// patience has run out. A list from before since is due. The maps are shared and
// must not be changed.
func (a *Activities) graph(ctx context.Context, account spacelift.Account, patience time.Duration, since time.Time) knownGraph {
	c := &a.graphs
	c.mu.Lock()
	known := c.accounts[account]
	if known == nil {
		known = &knownGraph{}
		if c.accounts == nil {
			c.accounts = map[spacelift.Account]*knownGraph{}
		}
		c.accounts[account] = known
	}
	now := a.now()
	if due := now.Sub(known.tried) >= graphFresh || known.at.Before(since); known.reading == nil && due && known.spend(now) {
		known.tried, known.reading = now, make(chan struct{})
		go a.readGraph(context.WithoutCancel(ctx), account, known) // it serves later callers too
	}
	reading := known.reading
	c.mu.Unlock()
	if reading != nil {
		over := time.NewTimer(patience)
		defer over.Stop()
		select {
		case <-reading:
		case <-over.C:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return *known
}

// known returns which stack follows which, as last read. The maps are shared and must not
// be changed.
func (c *graphCache) known(account spacelift.Account) knownGraph {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.accounts[account]; known != nil {
		return *known
	}
	return knownGraph{}
}

func (a *Activities) readGraph(ctx context.Context, account spacelift.Account, known *knownGraph) {
	ctx, cancel := context.WithTimeout(ctx, graphRead)
	defer cancel()
	asked := a.now()
	stacks, err := a.Accounts[account].LabelsOfStacks(ctx)
	var after map[spacelift.StackID]chain.Following
	if err == nil {
		after = a.parents(ctx, account, stacks)
	}
	a.graphs.mu.Lock()
	defer a.graphs.mu.Unlock()
	if known.err = err; err == nil {
		known.after, known.by, known.at = after, chain.FollowedBy(after), asked
	}
	close(known.reading)
	known.reading = nil
}

// parents returns the stacks that each managed stack follows by its labels. A stack
// that names itself does not follow itself: its labels are a problem of its own,
// which holds it when its turn comes.
func (a *Activities) parents(ctx context.Context, account spacelift.Account, stacks []spacelift.LabelledStack) map[spacelift.StackID]chain.Following {
	by := a.definitions()
	tree, _ := a.spaces(ctx, by, account) // without it, only channels may lack that a rule names
	all := map[spacelift.StackID]chain.Following{}
	for _, s := range stacks {
		if spacelift.Managed(s.Labels) {
			policy := by.Resolve(policy.Labelled(s.Labels).With(account, s.ID, s.StackTraits, tree))
			all[s.ID] = chain.Following{After: chain.ParentsOf(s.ID, policy.After.Value), Notify: policy.Notify.Value}
		}
	}
	return all
}
