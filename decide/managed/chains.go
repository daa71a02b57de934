package managed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// followersTrusted bounds the age of a list of stacks by which nobody follows the
// run's stack. A run that takes longer asks again when it finishes.
const followersTrusted = 10 * time.Minute

// maxChains bounds the chains that one run is part of. There is mostly one; two
// chains may share a run when they release the same stack at the same time.
const maxChains = 10

// takeFollowers takes the stacks that follow the run's; nil if they are not known.
func (r *Record) takeFollowers(at time.Time, f *Followers) {
	if f == nil {
		return
	}
	if f.At.IsZero() || f.At.After(at) { // by another machine's clock
		f.At = at
	}
	r.Followers = f
}

// Join makes the run part of chains.
func (r *Record) Join(chains []ChainRef) {
	for _, c := range chains {
		if r.Parents != nil {
			r.Parents.Stale = true // what it waited for may be through
		}
		i := slices.IndexFunc(r.Chains, func(k ChainRef) bool { return k.Root == c.Root })
		switch {
		case i >= 0:
			r.Chains = slices.Clone(r.Chains)
			r.Chains[i].TriggeredBy = Distinct(append(slices.Clone(r.Chains[i].TriggeredBy), c.TriggeredBy...))
		case len(r.Chains) < maxChains:
			r.Chains = append(slices.Clone(r.Chains), c)
			r.ChainsTold = nil
		}
	}
}

// Released returns the chains that released the run. They learn of its retries.
func (s *RunStatus) Released() []ChainRef {
	return slices.DeleteFunc(slices.Clone(s.Chains), func(c ChainRef) bool { return c.Root == s.Run })
}

// ReleaseNothing records that the end of the run releases nothing.
func (r *Record) ReleaseNothing(key StateKey) {
	r.Released = &key
	r.WaitersKnow = nil // who was signaled before waits for what the run was about to release
}

// NotifyChains records that the chains that released the run know of its end, or
// before that, of the wish to stop it.
func (r *Record) NotifyChains(key StateKey) {
	if r.Stopping != nil {
		r.Stopping.ChainsTold = true
	}
	if key.State.Terminal() {
		r.ChainsTold = &key
	}
}

// BeginChain makes the run part of the chain that its end begins.
func (r *Record) BeginChain(key StateKey) {
	r.Released = &key
	r.Chains = append(slices.Clone(r.Chains), ChainRef{Root: r.Run})
}

// follows reports whether a chain released the run.
func (s *Situation) follows() bool {
	return len(s.Released()) > 0
}

// chainsWait reports whether a chain has yet to learn that the run ended.
func (s *Situation) chainsWait() bool {
	return s.follows() && (s.chainsTold == nil || *s.chainsTold != s.Key())
}

// releases reports whether the stacks that follow are to be released, or asked
// for because nobody knows of any for sure. What a chain released needs no chain
// of its own: those that follow it are part of the same. Below a run that somebody
// wanted stopped nothing is released without asking.
func (s *Situation) releases() bool {
	switch {
	case s.State != spacelift.RunStateFinished || s.Type != spacelift.RunTypeTracked || s.DriftDetection,
		s.released != nil && *s.released == s.Key(), s.follows(), s.Stop != nil:
		return false
	}
	return s.followed() || s.followersUnsure()
}

// chainGrace is the time that a run gives to a chain that may have triggered it,
// before it begins a chain of its own. Mostly the chain is faster; after an outage
// both continue at the same time.
const chainGrace = time.Minute

// chainGraceUntil returns the end of chainGrace for runs that a chain may have
// triggered: those of an API key, and those that Spacelift made for a stack that
// this one follows. It returns zero for others, such as those that Gantry triggered for
// people who are known.
func (s *Situation) chainGraceUntil() time.Time {
	if len(s.Behind) > 0 || !strings.HasPrefix(s.TriggeredBy, "api::") && !slices.Contains(s.Policy.After.Value, s.TriggeredBy) {
		return time.Time{}
	}
	return s.Entered.At.Add(chainGrace)
}

// othersMayWait reports whether other runs, or chains, may wait for the run's end and
// don't know of it. Nothing waits for a preview or a module's test.
func (s *Situation) othersMayWait() bool {
	return s.Type != spacelift.RunTypeProposed && s.Type != spacelift.RunTypeTesting && (s.waitersKnow == nil || *s.waitersKnow != s.Key())
}

// Reached reports whether a chain signals the runs of the stacks that follow, because
// the run has finished and is part of it.
func (s *Situation) Reached() bool {
	return s.State == spacelift.RunStateFinished && len(s.Chains) > 0
}

// SignalWaiting records that whatever waits for the end of the run knows of it.
func (r *Record) SignalWaiting(key StateKey) { r.WaitersKnow = &key }

func (s *Situation) followed() bool {
	return s.followers != nil && len(s.followers.Stacks)+s.followers.More > 0
}

// followersUnsure reports whether a stack may follow that Gantry does not know.
func (s *Situation) followersUnsure() bool {
	return s.followers == nil || s.Now.Sub(s.followers.At) > followersTrusted
}

// whatFollows says which stacks the run's end releases; empty if it releases none,
// as far as is known.
func (s *Situation) whatFollows() string {
	if s.Stop != nil || !s.followed() || s.Type != spacelift.RunTypeTracked || s.DriftDetection {
		return ""
	}
	names := make([]string, len(s.followers.Stacks))
	for i, stack := range s.followers.Stacks {
		names[i] = string(stack)
	}
	if s.followers.More > 0 {
		names = append(names, fmt.Sprintf("%d more", s.followers.More))
	}
	return "when the run finishes, what follows its stack is released: " + decide.Enumerate(names)
}

// maxTriggerers bounds the people that a chain names to one run, and maxPerson the
// bytes of a name.
const (
	maxTriggerers = 20
	MaxPerson     = 60
)

// ChainRef says that a run is part of a chain.
type ChainRef struct {
	Root  spacelift.RunRef    `json:"root"`            // the run that began it
	After []spacelift.StackID `json:"after,omitempty"` // the stacks of the chain that the run's stack follows; none for the root

	// TriggeredBy are the people behind what goes before the run: they do not
	// approve it.
	TriggeredBy []string `json:"triggeredBy,omitempty"`
}

// Followers are the managed stacks that follow a stack directly, as this
// replica knew them: see followersOf.
type Followers struct {
	Stacks []spacelift.StackID `json:"stacks,omitempty"` // sorted; the first of them, if there are many
	More   int                 `json:"more,omitempty"`   // how many are left out
	At     time.Time           `json:"at,omitzero"`      // when Spacelift was asked for the list that says so
}

// Any reports whether any stack follows.
func (f Followers) Any() bool { return len(f.Stacks)+f.More > 0 }
