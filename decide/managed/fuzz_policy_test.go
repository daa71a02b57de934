package managed

import (
	"slices"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// FuzzPolicy lets arbitrary notifications, readings, decisions and stops of
// people, locks, a Spacelift that accepts and does nothing, and times come in any
// order: Gantry confirms a plan at most once, or twice if the first time had no
// effect, and none that is not its to confirm. Every four bytes are one step: what
// happens, two details of it, and how much time passes before.
func FuzzPolicy(f *testing.F) {
	const tell, approve, reject, shut, stop, lock, deaf = 0, 1, 2, 4, 5, 6, 7
	waits := byte(slices.Index(fuzzStates, spacelift.RunStateUnconfirmed))
	again := byte(slices.Index(fuzzStates, spacelift.RunStateReplanRequested))
	f.Add(byte(0), []byte{tell, waits, 5, 0, tell, waits, 5, 1})
	f.Add(byte(2), []byte{tell, waits, 5, 0, approve, 0, 0, 1, approve, 1, 0, 1})
	f.Add(byte(2), []byte{tell, waits, 5, 0, approve, 0, 0, 1, tell, again, 6, 1, tell, waits, 7, 1, approve, 1, 0, 1})
	f.Add(byte(2), []byte{tell, waits, 5, 0, approve, 0, 0, 1, reject, 1, 0, 1})
	f.Add(byte(2), []byte{tell, waits, 5, 0, approve, 0, 0, 1, approve, 1, 0, 9})
	f.Add(byte(1), []byte{shut, 1, 0, 0, tell, waits, 5, 0, shut, 0, 0, 9})
	f.Add(byte(0), []byte{tell, waits - 1, 4, 0, stop, 0, 0, 1, tell, waits, 5, 1})
	f.Add(byte(0), []byte{lock, 1, 0, 0, tell, waits, 5, 0, lock, 0, 0, 1, tell, waits, 5, 9})
	f.Add(byte(0), []byte{deaf, 1, 0, 0, tell, waits, 5, 0, tell, waits, 5, 1, tell, waits, 5, 1, deaf, 0, 0, 9})
	f.Add(byte(3), []byte{deaf, 1, 0, 0, tell, waits, 7, 0, reject, 0, 0, 1, deaf, 0, 0, 1, tell, again, 8, 1, tell, waits, 9, 1})
	f.Fuzz(func(t *testing.T, labels byte, data []byte) {
		g := gamble{T: t, now: t0, labels: fuzzLabels[int(labels)%len(fuzzLabels)], said: map[StateKey]map[string]Verdict{}, confirmed: map[StateKey][]time.Time{}}
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
	r      Record
	now    time.Time
	labels []string
	shut   bool
	locked bool // somebody locked the stack
	deaf   bool // Spacelift accepts everything and does nothing
	ticks  time.Duration

	stopped   bool                            // somebody stopped the run, and was not refused
	objected  bool                            // somebody rejected a plan or took an approval back
	said      map[StateKey]map[string]Verdict // the last that each person said of a state, if it counted
	confirmed map[StateKey][]time.Time
}

func (g *gamble) happens(b []byte) {
	g.now = g.now.Add(time.Duration(b[3]) * 10 * time.Minute)
	switch b[0] % 8 {
	case 0:
		g.receives(notification(spacelift.RunTypeTracked, fuzzStates[int(b[1])%len(fuzzStates)], int(b[2]%32)))
	case 1:
		g.decides(Approve, b[1])
	case 2:
		g.decides(Reject, b[1])
	case 3:
		g.decides(Revoke, b[1])
	case 4:
		g.shut, g.r.RulesStale = b[1]&1 != 0, g.r.RulesFor != nil // as a freeze does
	case 5:
		g.stops()
	case 6:
		g.locked = b[1]&1 != 0
	case 7:
		g.deaf = b[1]&1 != 0
	}
}

func (g *gamble) receives(e RunEvent) {
	g.ticks += time.Nanosecond
	e.Labels, e.ReceivedAt = g.labels, g.now.Add(g.ticks)
	if e.Source == SourceReconcile {
		e.Block = g.brakes().ConfirmBlock(testRun.Run)
	}
	e.Delta = []*spacelift.Delta{nil, {Added: 1}, {Deleted: 1}, {Deleted: 2}}[e.StateVersion%4]
	g.r.Take(g.now, []RunEvent{e})
	g.r.Arrive(g.now)
}

func (g *gamble) brakes() (b spacelift.Brakes) {
	if g.locked {
		b.Lock = &spacelift.Lock{By: "jane"}
	}
	return b
}

// stops lets ann stop the run, who is answered immediately.
func (g *gamble) stops() {
	wish := StopRequest{By: decide.Person{Name: "ann"}}
	if g.r.RefuseStop(g.r.Situation(g.now), wish) != nil {
		return
	}
	if s := g.r.Stop(g.now, wish); s != nil {
		s.Promised, g.stopped = true, true
	}
}

// decides lets ann, bob, eve or the author say something.
func (g *gamble) decides(v Verdict, who byte) {
	s := g.r.Situation(g.now)
	d := Decision{Verdict: v, By: decide.Person{Name: []string{"ann", "bob", "eve", "jdoe"}[who%4]}}
	if g.r.RefuseDecision(s, d, s.Key()) != nil {
		return
	}
	g.r.TakeDecision(g.now, d)
	if g.said[s.Key()] == nil {
		g.said[s.Key()] = map[string]Verdict{}
	}
	g.said[s.Key()][d.By.Name] = v
	g.objected = g.objected || v != Approve
}

// settles carries out what the core wants until it waits; Spacelift does what
// it is asked to, and shows what notifications said.
func (g *gamble) settles() {
	for range 100 {
		s := g.r.Situation(g.now)
		switch n := s.Next(); n.Do {
		case DoRules:
			p := rulebook.Resolve(policy.Labelled(s.Labels))
			rules := Rules{Labels: s.Labels, Policy: p, Gate: policy.Gate{Open: !g.shut, At: g.now, Reason: "frozen"}}
			if s.Ask != nil {
				rules.Schedule = rulebook.Schedule(p, s.Ask.Since)
			}
			g.r.TakeRules(g.now, rules, s.Ask != nil)
		case DoRead:
			g.reads()
		case DoVerify:
			g.reads()
			g.r.unmet(g.now, s.Key())
		case DoAsk:
			g.r.Announce(g.now, n)
		case DoClock:
			g.r.FireDeadlines(g.now)
		case DoConfirm:
			g.confirms(s)
		case DoDiscard, DoReview, DoStop:
			if !g.r.Send(s.Key(), n) {
				g.Fatalf("asks Spacelift to %s while it waits for an answer", n.Do)
			}
			g.r.Acted(g.now, s.Key(), n, ActResult{Outcome: ActDone, Verb: string(n.Do)})
		default:
			return
		}
	}
	n := g.r.Situation(g.now).Next()
	g.Fatalf("the core never settles: %s %s %+v", n.Do, n.Reason, g.r.Trust)
}

// reads lets the API show what notifications said.
func (g *gamble) reads() {
	seen, ok := g.r.unread()
	if !ok {
		seen, ok = g.r.current()
	}
	if !ok {
		g.r.Unanswered(g.now, "nothing was said of the run yet", false)
		return
	}
	g.r.Compare(g.now, spacelift.Run{
		Ref: testRun, Type: seen.Type, State: seen.State, StateVersion: seen.StateVersion, Branch: seen.Branch, Commit: seen.Commit,
		Delta: seen.Delta, StackLabels: g.labels, StackName: seen.StackName,
	})
	g.r.Arrive(g.now)
}

func (g *gamble) confirms(s *Situation) {
	p, approved := rulebook.Resolve(policy.Labelled(g.labels)), 0
	for who, v := range g.said[s.Key()] {
		switch {
		case v == Reject:
			g.Errorf("confirms a plan that %s rejected", who)
		case v == Approve && who == "jdoe":
			g.Error("counts the author's approval")
		case v == Approve:
			approved++
		}
	}
	alone, _ := p.AutoConfirms(policy.PlanFacts{Type: s.Type, Delta: s.Delta})
	needed, before := p.Approvals.Value, g.confirmed[s.Key()]
	if g.objected {
		alone, needed = false, max(needed, 1)
	}
	switch {
	case s.State != spacelift.RunStateUnconfirmed || !spacelift.Managed(g.labels) || len(p.Problems) > 0:
		g.Errorf("confirms in %s with the labels %q", s.State, g.labels)
	case len(before) > 1 || len(before) > 0 && g.now.Before(before[0].Add(effectWithin)):
		g.Errorf("confirms a plan again, after %v", before)
	case g.stopped:
		g.Error("confirms a run that somebody stopped")
	case s.Block != nil:
		g.Error("confirms under a lock that it knows of")
	case !alone && (needed == 0 || approved < needed):
		g.Errorf("confirms what %d of %d approved", approved, needed)
	case s.Gate != nil && g.shut:
		g.Error("confirms through a gate that it read to be shut")
	}
	in := Confirmation(s, s.Next())
	g.r.Send(s.Key(), s.Next())
	seen := spacelift.Run{Ref: testRun, Type: s.Type, State: s.State, StateVersion: s.StateVersion, Delta: s.Delta, Commit: s.Commit, StackLabels: g.labels, Brakes: g.brakes()}
	if block := g.brakes().ConfirmBlock(testRun.Run); block != nil {
		g.r.Confirmed(g.now, in, ConfirmResult{Outcome: StackBlocked, Block: block, Reason: block.Reason, Run: seen})
		return
	}
	g.confirmed[s.Key()] = append(before, g.now)
	g.r.Confirmed(g.now, in, ConfirmResult{Outcome: Confirmed, Run: seen})
	if !g.deaf {
		g.goesOn(s)
	}
}

// goesOn lets Spacelift do what it accepted, and notify Gantry.
func (g *gamble) goesOn(s *Situation) {
	g.receives(notification(s.Type, spacelift.RunStateConfirmed, s.StateVersion+1))
}
