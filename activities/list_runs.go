package activities

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
)

// SurveyInput is a request to compare the runs in progress of an account with the
// executions that follow runs.
type SurveyInput struct {
	Account spacelift.Account `json:"account"`
	At      time.Time         `json:"at"`    // now
	Grace   time.Duration     `json:"grace"` // runs younger than this are left to notifications

	Open  string  `json:"open"`  // query for the open executions that follow runs
	Stuck string  `json:"stuck"` // query for the account's executions whose workflow tasks fail
	Index Indexed `json:"index"`

	Pages      int `json:"pages"`      // of 50 runs, at most
	Executions int `json:"executions"` // at most
	Candidates int `json:"candidates"` // at most

	Missing []MissingRun `json:"missing,omitempty"` // runs that Spacelift did not know before
	Unknown int          `json:"unknown"`           // how many other runs that Spacelift does not list become candidates, at most

	Sweep *reconcile.Sweep `json:"sweep,omitempty"` // nil: no sweep is under way
}

// Indexed names the search attributes of executions that follow runs, and the
// phases in which a run waits.
type Indexed struct {
	State       string   `json:"state"`
	Phase       string   `json:"phase"`
	Fingerprint string   `json:"fingerprint"`
	Waiting     []string `json:"waiting"`
}

// MissingRun is a run that Spacelift did not know, as "stack/run".
type MissingRun struct {
	Key string `json:"key"`
	Due bool   `json:"due"` // it is time to read it again
}

// Survey is the result of the comparison. It becomes part of a history, so its size
// does not depend on the number of runs.
type Survey struct {
	InProgress int  `json:"inProgress"`        // managed runs in progress
	Open       int  `json:"open"`              // executions that follow a run
	Partial    bool `json:"partial,omitempty"` // there are more than the lists hold
	Calls      int  `json:"calls"`             // to Spacelift's API

	Candidates []reconcile.Candidate `json:"candidates,omitempty"`
	Postponed  int                   `json:"postponed,omitempty"` // more runs that are candidates

	Missing   []string `json:"missing,omitempty"`   // runs of the input that are still open and not listed
	Unlisted  int      `json:"unlisted,omitempty"`  // executions whose run Spacelift does not list
	SweptTo   string   `json:"sweptTo,omitempty"`   // the last key of the sweep that is among the candidates
	SweptAll  bool     `json:"sweptAll,omitempty"`  // nothing is left behind it
	OwedStill []string `json:"owedStill,omitempty"` // runs of the sweep that are owed and still open

	Behind int       `json:"behind,omitempty"` // executions that wait by other freezes than those in effect
	Stuck  StuckList `json:"stuck,omitzero"`
}

// StuckList lists executions whose workflow tasks keep failing.
type StuckList struct {
	Count int      `json:"count"`
	First []string `json:"first"` // workflow ids of some
}

// runsPerPage is the size of the client's pages, and stuckNamed bounds the stuck
// executions that are named.
const (
	runsPerPage = 50
	stuckNamed  = 3
)

// Survey compares the lists, so only differences become part of a history. It lists
// executions first: a run that ends between the two lists is then open in one and
// gone from the other, which makes it a candidate.
func (a *Activities) Survey(ctx context.Context, in SurveyInput) (Survey, error) {
	api, err := a.account(in.Account)
	if err != nil {
		return Survey{}, err
	}
	open, complete, err := a.executions(ctx, in.Open, in.Executions, in.Index.State, in.Index.Phase, in.Index.Fingerprint)
	if err != nil {
		return Survey{}, err
	}
	runs, err := api.RunsInProgress(ctx, in.Pages)
	if err != nil {
		return Survey{}, classify(ctx, err)
	}
	for i := range runs.Items {
		a.dropOwnLock(ctx, in.Account, &runs.Items[i].Brakes)
	}
	c := comparison{in: in, lines: runs.Items, stuck: map[string]bool{}}
	found := Survey{Partial: !complete || !runs.Complete, Calls: max(1, (len(runs.Items)+runsPerPage-1)/runsPerPage)}
	// Older servers don't know this query's attribute. Then Gantry learns that an
	// execution is stuck when it queries it.
	if stuck, _, err := a.executions(ctx, in.Stuck, in.Executions); err == nil {
		for _, e := range stuck {
			c.stuck[e.ID] = true
		}
		found.Stuck.Count = len(stuck)
		for _, e := range stuck[:min(len(stuck), stuckNamed)] {
			found.Stuck.First = append(found.Stuck.First, e.ID)
		}
	}
	for _, e := range open {
		if run, err := managed.ParseRunID(e.ID); err == nil {
			c.open = append(c.open, openRun{
				Run: run, Stuck: c.stuck[e.ID], State: spacelift.RunState(e.Values[0]), Phase: e.Values[1], Fingerprint: e.Values[2],
			})
		}
	}
	found.Open = len(c.open)
	if freezes, err := a.freezes(ctx, in.Account); err == nil { // else the next survey finds it
		found.Behind = c.behind(a.definitions(), freezes)
	}
	if found.Behind > 0 && a.notifying(ctx, in.Account) {
		found.Behind = 0 // the signals are under way
	}
	c.compare(&found)
	return found, nil
}

// notifying reports whether runs are being notified of a change of the freezes.
func (a *Activities) notifying(ctx context.Context, account spacelift.Account) bool {
	busy, _, err := query[bool](ctx, a, freeze.ID(account), "", freeze.NotifyingQuery)
	return err == nil && busy
}

// comparison is a survey at work: two lists, each a moment old.
type comparison struct {
	in    SurveyInput
	lines []spacelift.RunLine // runs in progress
	open  []openRun
	stuck map[string]bool // by workflow id
}

// openRun is a run with an open execution, as that is indexed.
type openRun struct {
	Run         spacelift.RunRef
	Stuck       bool // its workflow tasks keep failing
	State       spacelift.RunState
	Phase       string
	Fingerprint string
}

// facts is the part of the fingerprint about labels and reviews; gate is the part
// about freezes and the configuration, which is empty unless the run is at a gate.
func (o openRun) facts() string { facts, _, _ := strings.Cut(o.Fingerprint, "/"); return facts }
func (o openRun) gate() string  { _, gate, _ := strings.Cut(o.Fingerprint, "/"); return gate }

// behind reports whether a run waits by freezes or a configuration that are no
// longer in effect.
func (o openRun) behind(rules *policy.Definitions, freezes []policy.Freeze, at time.Time) bool {
	return o.gate() != "" && o.gate() != rules.GateFingerprint(freezes, string(o.Run.Stack), at)
}

func (c comparison) behind(rules *policy.Definitions, freezes []policy.Freeze) (n int) {
	for _, o := range c.open {
		if !o.Stuck && o.behind(rules, freezes, c.in.At) {
			n++
		}
	}
	return n
}

// compare picks the runs to compare closely. Each kind gets its share of the
// room, and the order within a kind differs from one survey to the next: however
// many runs there are, each has its turn, nothing has to be remembered of those
// that wait, and invented runs can't crowd out others.
//
// The states that lists show of executions lag and leave out short ones, so a
// difference is only a reason to check. No notification says that labels changed,
// that an approval policy asks for a review, or that a person locked the stack. So
// a run that waits, or should, is a candidate too if its execution's fingerprint
// shows that the execution doesn't know what is listed.
func (c comparison) compare(found *Survey) {
	opened := map[spacelift.RunRef]openRun{}
	for _, o := range c.open {
		opened[o.Run] = o
	}
	listed := map[spacelift.RunRef]reconcile.Candidate{}
	var differ, missing, unknown []reconcile.Candidate
	for _, line := range c.lines {
		o, open := opened[line.Ref]
		now := reconcile.Candidate{
			Run: line.Ref, Listed: true, Managed: spacelift.Managed(line.StackLabels), Whole: open && c.owes(reconcile.KeyOf(line.Ref)),
			State: line.State, Fingerprint: facts(line).Fingerprint(),
		}
		listed[line.Ref] = now
		if now.Managed {
			found.InProgress++
		}
		switch {
		case o.Stuck:
		case !open && (!now.Managed || line.CreatedAt.After(c.in.At.Add(-c.in.Grace))):
		case open && o.State == line.State && (!c.waits(o, line) || o.facts() == now.Fingerprint):
		default:
			differ = append(differ, now)
		}
	}
	due := map[string]bool{} // of the runs that Spacelift did not know
	for _, m := range c.in.Missing {
		due[m.Key] = m.Due
	}
	for _, o := range c.open {
		if _, ok := listed[o.Run]; ok || o.Stuck || o.State.Terminal() { // an execution may outlive its run
			continue
		}
		found.Unlisted++
		this := reconcile.Candidate{Run: o.Run, Whole: c.owes(reconcile.KeyOf(o.Run))}
		again, before := due[reconcile.KeyOf(o.Run)]
		if before {
			found.Missing = append(found.Missing, reconcile.KeyOf(o.Run))
		}
		switch {
		case again:
			missing = append(missing, this)
		case !before:
			unknown = append(unknown, this)
		}
	}
	slices.Sort(found.Missing)
	c.shuffle(differ)
	c.shuffle(missing)
	c.shuffle(unknown)
	held := len(unknown) - min(len(unknown), c.in.Unknown)
	unknown = unknown[:len(unknown)-held]
	swept := c.sweep(found, listed)
	found.Candidates, found.Postponed = share(c.in.Candidates, differ, missing, unknown, swept)
	found.Postponed += held
	c.markSwept(found, swept)
}

// facts returns the facts that the list shows of a run.
func facts(line spacelift.RunLine) policy.Facts {
	return policy.Facts{
		State: line.State, Labels: line.StackLabels, NeedsApproval: line.NeedsApproval, Block: line.Brakes.ConfirmBlock(line.Ref.Run),
	}
}

// waits reports whether a run waits, or would if its execution knew what is
// listed.
func (c comparison) waits(o openRun, line spacelift.RunLine) bool {
	return line.NeedsApproval || slices.Contains(c.in.Index.Waiting, o.Phase)
}

// owes reports whether the sweep has yet to compare a run.
func (c comparison) owes(key string) bool {
	return c.in.Sweep != nil && (key > c.in.Sweep.After || slices.Contains(c.in.Sweep.Owed, key))
}

// sweep returns the runs that are next to be compared whole, in order.
func (c comparison) sweep(found *Survey, listed map[spacelift.RunRef]reconcile.Candidate) []reconcile.Candidate {
	var owed, next []reconcile.Candidate
	for _, o := range c.open {
		if o.Stuck || !c.owes(reconcile.KeyOf(o.Run)) {
			continue
		}
		this, ok := listed[o.Run]
		if !ok {
			this = reconcile.Candidate{Run: o.Run}
		}
		this.Whole, this.Swept = true, true
		if reconcile.KeyOf(o.Run) > c.in.Sweep.After {
			next = append(next, this)
			continue
		}
		owed = append(owed, this)
		found.OwedStill = append(found.OwedStill, reconcile.KeyOf(o.Run))
	}
	slices.Sort(found.OwedStill)
	slices.SortFunc(next, func(a, b reconcile.Candidate) int { return cmp.Compare(reconcile.KeyOf(a.Run), reconcile.KeyOf(b.Run)) })
	return append(owed, next...)
}

// markSwept records how far the candidates take the sweep.
func (c comparison) markSwept(found *Survey, swept []reconcile.Candidate) {
	if c.in.Sweep == nil {
		return
	}
	picked := map[spacelift.RunRef]int{}
	for i, p := range found.Candidates {
		picked[p.Run] = i + 1
	}
	found.SweptTo, found.SweptAll = c.in.Sweep.After, true
	for _, s := range swept {
		i := picked[s.Run]
		if i == 0 {
			found.SweptAll = false
			break
		}
		found.Candidates[i-1].Swept = true
		found.SweptTo = max(found.SweptTo, reconcile.KeyOf(s.Run))
	}
}

// shuffle orders candidates by a hash of their run and the time.
func (c comparison) shuffle(all []reconcile.Candidate) {
	seed := c.in.At.UTC().Format(time.RFC3339Nano)
	places := map[spacelift.RunRef]string{}
	for _, one := range all {
		sum := sha256.Sum256([]byte(seed + reconcile.KeyOf(one.Run)))
		places[one.Run] = string(sum[:])
	}
	slices.SortFunc(all, func(a, b reconcile.Candidate) int { return cmp.Compare(places[a.Run], places[b.Run]) })
}

// share takes candidates from each kind in turn, each run once, up to a limit,
// and counts the others.
func share(limit int, kinds ...[]reconcile.Candidate) (picked []reconcile.Candidate, left int) {
	seen := map[spacelift.RunRef]bool{}
	for more := true; more; {
		more = false
		for i, kind := range kinds {
			for len(kind) > 0 && seen[kind[0].Run] {
				kind = kind[1:]
			}
			if len(kind) > 0 {
				seen[kind[0].Run] = true
				if len(picked) < limit {
					picked = append(picked, kind[0])
				} else {
					left++
				}
				kind, more = kind[1:], true
			}
			kinds[i] = kind
		}
	}
	return picked, left
}
