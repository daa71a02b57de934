package activities

import (
	"context"
	"sync"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// Followers are the managed stacks that follow a stack directly, as this
// replica knew them: see followersOf.
type Followers struct {
	Stacks []spacelift.StackID `json:"stacks,omitempty"` // sorted; the first of them, if there are many
	More   int                 `json:"more,omitempty"`   // how many are left out
}

// Any reports whether any stack follows.
func (f Followers) Any() bool { return len(f.Stacks)+f.More > 0 }

const (
	// maxFollowers is how many are named: they end up in every history.
	maxFollowers = 20

	// followersFresh is how long what a replica knows of an account's followers
	// is not read again, and followersGood how long it counts when it can't be.
	followersFresh = time.Minute
	followersGood  = 10 * time.Minute

	// followersWait is how long an activity waits for them to be read, and
	// followersRead how long that may take.
	followersWait = time.Second
	followersRead = time.Minute
)

// followerCache is what a replica knows of who follows whom. Every run asks
// when it begins to be managed, so that one that nobody follows need not ask
// when it ends; reading all managed stacks for each would be too much.
type followerCache struct {
	mu       sync.Mutex
	accounts map[spacelift.Account]*followersKnown
}

type followersKnown struct {
	by      map[spacelift.StackID][]spacelift.StackID // who follows; nil: not known
	at      time.Time                                 // when they were read
	tried   time.Time                                 // when reading them was begun
	reading chan struct{}                             // closed once that has ended; nil when nobody reads
}

// followersOf says who follows a stack; nil when that is not known, because
// Spacelift does not say in time.
func (a *Activities) followersOf(ctx context.Context, account spacelift.Account, stack spacelift.StackID) *Followers {
	if _, ok := a.Accounts[account]; !ok {
		return nil
	}
	reading, found := a.knownFollowers(ctx, account, stack)
	if reading == nil {
		return found
	}
	patience := time.NewTimer(followersWait)
	defer patience.Stop()
	select {
	case <-reading:
	case <-patience.C:
	case <-ctx.Done():
	}
	_, found = a.knownFollowers(ctx, account, stack)
	return found
}

// knownFollowers says who follows a stack as far as it is known, and begins to
// read that anew when it is old. reading is closed once a reading under way has
// ended; nil when there is none.
func (a *Activities) knownFollowers(ctx context.Context, account spacelift.Account, stack spacelift.StackID) (reading <-chan struct{}, found *Followers) {
	c, now := &a.followers, a.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.accounts[account]
	if known == nil {
		known = &followersKnown{}
		if c.accounts == nil {
			c.accounts = map[spacelift.Account]*followersKnown{}
		}
		c.accounts[account] = known
	}
	if known.reading == nil && now.Sub(known.tried) >= followersFresh {
		known.tried, known.reading = now, make(chan struct{})
		go a.readFollowers(context.WithoutCancel(ctx), account, known) // it serves those who come later too
	}
	if known.by == nil || now.Sub(known.at) >= followersGood {
		return known.reading, nil
	}
	all := known.by[stack]
	named := all[:min(len(all), maxFollowers)]
	return known.reading, &Followers{Stacks: named, More: len(all) - len(named)}
}

func (a *Activities) readFollowers(ctx context.Context, account spacelift.Account, known *followersKnown) {
	ctx, cancel := context.WithTimeout(ctx, followersRead)
	defer cancel()
	begun := a.now()
	after, complete, err := a.follows(ctx, account)
	a.followers.mu.Lock()
	defer a.followers.mu.Unlock()
	if err == nil && complete {
		known.by, known.at = followedBy(after), begun
	}
	close(known.reading)
	known.reading = nil
}
