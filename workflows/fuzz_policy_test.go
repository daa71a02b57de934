package workflows

import (
	"slices"
	"testing"
	"time"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// FuzzPolicy lets arbitrary notifications, readings, decisions of people and
// times come in any order: Gantry confirms a plan at most once, and none that
// is not its to confirm. Every four bytes are one step: what happens, two
// details of it, and how much time passes before.
func FuzzPolicy(f *testing.F) {
	const tell, approve, reject, shut = 0, 1, 2, 4
	waits := byte(slices.Index(fuzzStates, spacelift.RunStateUnconfirmed))
	again := byte(slices.Index(fuzzStates, spacelift.RunStateReplanRequested))
	f.Add(byte(0), []byte{tell, waits, 5, 0, tell, waits, 5, 1})
	f.Add(byte(2), []byte{tell, waits, 5, 0, approve, 0, 0, 1, approve, 1, 0, 1})
	f.Add(byte(2), []byte{tell, waits, 5, 0, approve, 0, 0, 1, tell, again, 6, 1, tell, waits, 7, 1, approve, 1, 0, 1})
	f.Add(byte(2), []byte{tell, waits, 5, 0, approve, 0, 0, 1, reject, 1, 0, 1})
	f.Add(byte(2), []byte{tell, waits, 5, 0, approve, 0, 0, 1, approve, 1, 0, 9})
	f.Add(byte(1), []byte{shut, 1, 0, 0, tell, waits, 5, 0, shut, 0, 0, 9})
	f.Fuzz(func(t *testing.T, labels byte, data []byte) {
		g := gamble{T: t, now: t0, labels: fuzzLabels[int(labels)%len(fuzzLabels)], said: map[stateKey]map[string]Verdict{}, confirmed: map[stateKey]bool{}}
		g.r = fresh()
		for b := range slices.Chunk(data[:min(len(data), 400)], 4) {
			if len(b) == 4 {
				g.happens(b)
				g.settles()
			}
		}
	})
}

var fuzzLabels = [][]string{
	{"gantry:confirm=auto", "gantry:managed"},
	{"gantry:confirm=no-deletes", "gantry:managed"},
	{"gantry:managed", "gantry:profile=two"},
	{"gantry:managed", "gantry:profile=small"},
	{"gantry:confirm=manual", "gantry:managed"},
	{"gantry:managed"},
	{"gantry:confirm=auto"},
	{"gantry:confirm=atuo", "gantry:managed"},
}

// gamble is one run of the core: what it knows, and what the test knows.
type gamble struct {
	*testing.T
	r      record
	now    time.Time
	labels []string
	shut   bool

	said      map[stateKey]map[string]Verdict // the last that each person said of a state, if it counted
	confirmed map[stateKey]bool
}

func (g *gamble) happens(b []byte) {
	g.now = g.now.Add(time.Duration(b[3]) * 10 * time.Minute)
	switch b[0] % 5 {
	case 0:
		g.hears(notification(spacelift.RunTypeTracked, fuzzStates[int(b[1])%len(fuzzStates)], int(b[2]%32)))
	case 1:
		g.decides(Approve, b[1])
	case 2:
		g.decides(Reject, b[1])
	case 3:
		g.decides(Revoke, b[1])
	case 4:
		g.shut, g.r.RulesStale = b[1]&1 != 0, g.r.RulesFor != nil // as a freeze does
	}
}

func (g *gamble) hears(e RunEvent) {
	e.Labels, e.ReceivedAt = g.labels, g.now
	e.Delta = []*spacelift.Delta{nil, {Added: 1}, {Deleted: 1}, {Deleted: 2}}[e.StateVersion%4]
	g.r.take(g.now, []RunEvent{e})
	g.r.arrive(g.now)
}

// decides lets ann, bob, eve or the author say something.
func (g *gamble) decides(v Verdict, who byte) {
	s := g.r.situation(g.now)
	d := Decision{Verdict: v, By: Person{Name: []string{"ann", "bob", "eve", "jdoe"}[who%4]}}
	if g.r.refuseDecision(s, d, s.key()) != nil {
		return
	}
	g.r.decided(g.now, d)
	if g.said[s.key()] == nil {
		g.said[s.key()] = map[string]Verdict{}
	}
	g.said[s.key()][d.By.Name] = v
}

// settles carries out what the core wants until it waits; Spacelift does what
// it is asked to, and shows what notifications told.
func (g *gamble) settles() {
	for range 100 {
		s := g.r.situation(g.now)
		switch n := decide(s); n.Do {
		case doRules:
			p := rulebook.Resolve(s.Labels)
			rules := terms{Labels: s.Labels, Policy: p, Gate: policy.Gate{Open: !g.shut, At: g.now, Reason: "frozen"}}
			if s.ask != nil {
				rules.Dues = rulebook.Dues(p, s.ask.Since)
			}
			g.r.takeRules(g.now, rules, s.ask != nil)
		case doRead:
			seen, _ := g.r.current()
			seen.Source = SourceReconcile
			g.hears(seen)
			g.r.sought(s)
		case doAsk:
			g.r.announce(g.now, n)
		case doClock:
			g.r.strike(g.now)
		case doConfirm:
			g.confirms(s)
		case doDiscard, doReview:
			g.r.acted(g.now, s.key(), n, activities.ActResult{Outcome: activities.ActDone, Verb: string(n.Do)})
		default:
			return
		}
	}
	g.Fatal("the core never comes to rest")
}

func (g *gamble) confirms(s situation) {
	p, approved := rulebook.Resolve(g.labels), 0
	for who, v := range g.said[s.key()] {
		switch {
		case v == Reject:
			g.Errorf("confirms a plan that %s rejected", who)
		case v == Approve && who == "jdoe":
			g.Error("counts the author's approval")
		case v == Approve:
			approved++
		}
	}
	alone, _ := p.Alone(policy.PlanFacts{Type: s.Type, Delta: s.Delta})
	switch {
	case s.State != spacelift.RunStateUnconfirmed || !spacelift.Managed(g.labels) || len(p.Problems) > 0:
		g.Errorf("confirms in %s with the labels %q", s.State, g.labels)
	case g.confirmed[s.key()]:
		g.Error("confirms a plan again")
	case !alone && (p.Approvals.Value == 0 || approved < p.Approvals.Value):
		g.Errorf("confirms what %d of %d approved", approved, p.Approvals.Value)
	case s.Gate != nil && g.shut:
		g.Error("confirms through a gate that it read to be shut")
	}
	g.confirmed[s.key()] = true
	in := confirmation(s, decide(s))
	g.r.claim(s.key(), decide(s))
	g.r.release(s.key())
	g.r.answered(g.now, in, activities.ConfirmResult{Outcome: activities.Confirmed}, nil)
}
