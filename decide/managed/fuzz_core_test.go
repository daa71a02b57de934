package managed

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// FuzzCore lets everything that an execution may meet come in any order: genuine
// and forged notifications, readings, answers that come late or never, people,
// clocks, and repairs. Nothing of it makes Gantry's code panic, what Gantry shows
// fits its contract, and an end is one that the API has shown. Every five bytes are
// one step.
func FuzzCore(f *testing.F) {
	at := func(state spacelift.RunState) byte { return byte(slices.Index(fuzzStates, state)) }
	failed, finished, waits := at(spacelift.RunStateFailed), at(spacelift.RunStateFinished), at(spacelift.RunStateUnconfirmed)
	f.Add([]byte{0, waits, 2, 0, 1, 1, waits, 2, 0, 1, 3, 0, 0, 0, 1})
	f.Add([]byte{0, failed, 2, 0, 1, 0, finished, 2, 0, 0, 5, 1, 0, 0, 0}) // two forgeries while a diagnosis is under way
	f.Add([]byte{1, failed, 2, 0, 1, 5, 1, 0, 0, 1, 5, 0, 0, 0, 1, 9, 0, 0, 0, 9})
	f.Add([]byte{0, waits, 2, 0, 1, 6, 0, 0, 0, 200, 8, 0, 0, 0, 200, 10, 0, 0, 0, 1})
	random := rand.NewChaCha8([32]byte{})
	for range 100 {
		steps := make([]byte, 5*20)
		_, _ = random.Read(steps) // it never fails
		f.Add(steps)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := chaos{T: t, r: fresh(), now: t0}
		for b := range slices.Chunk(data[:min(len(data), 300)], 5) {
			if len(b) == 5 {
				c.happens(b)
				c.fits()
			}
		}
	})
}

// chaos is a record that anything may happen to.
type chaos struct {
	*testing.T
	r   Record
	now time.Time
}

func (c *chaos) happens(b []byte) {
	c.now = c.now.Add(time.Duration(b[4]) * time.Minute)
	state, version := fuzzStates[int(b[1])%len(fuzzStates)], int(b[2]%16)
	s := c.r.Situation(c.now)
	n := s.Next()
	n.Do = []Action{n.Do, DoConfirm, DoDiscard, DoReview, DoStop}[int(b[3])%5] // also what was wanted before
	refused := b[3]&64 != 0
	switch b[0] % 13 {
	case 0:
		c.r.Take(c.now, []RunEvent{c.claim(b, state, version)})
	case 1:
		c.r.Compare(c.now, c.run(b, state, version))
	case 2:
		c.r.Learn(c.now, c.run(b, state, version)) // late, from an act
	case 3:
		rules := Rules{Labels: s.Labels, Policy: rulebook.Resolve(policy.Labelled(s.Labels)), Gate: policy.Gate{Open: b[1]&1 == 0, Reason: "frozen"}}
		if s.Ask != nil {
			rules.Schedule = rulebook.Schedule(rules.Policy, s.Ask.Since)
		}
		c.r.TakeRules(c.now, rules, b[2]&1 == 0)
	case 4:
		if s.rules == nil || s.Ask == nil {
			return
		}
		in := Confirmation(s, n)
		c.r.Send(s.Key(), n)
		outcomes := []ConfirmOutcome{Confirmed, AlreadyConfirmed, AnotherPlan, ConfirmRefused, RulesChanged, GateClosed}
		switch {
		case refused && b[1]%2 == 0:
			c.r.CouldNot(c.now, s.Key(), Next{Do: DoConfirm}, "connection reset")
		case refused:
			c.r.CalledOff(c.now, s.Key(), n)
		default:
			c.r.Confirmed(c.now, in, ConfirmResult{Outcome: outcomes[int(b[1])%len(outcomes)], ByUs: b[2]&1 == 0, Run: c.run(b, state, version)})
		}
	case 5:
		c.r.TakeDiagnosis(c.now, Failure{Cause: policy.CauseTransient, ApplyBegan: b[1]&1 != 0})
	case 6:
		d := Decision{Verdict: []Verdict{Approve, Reject, Revoke}[b[1]%3], By: decide.Person{Name: []string{"ann", "bob", "jdoe"}[b[2]%3]}}
		if c.r.RefuseDecision(s, d, s.Key()) == nil {
			c.r.TakeDecision(c.now, d)
		}
	case 7:
		wish := StopRequest{By: decide.Person{Name: "ann"}}
		if c.r.RefuseStop(s, wish) == nil {
			c.r.Stop(c.now, wish)
		}
	case 8:
		if n.Do == DoAsk || n.Do == DoClock || c.r.pending(s.Key()) != nil {
			c.r.FireDeadlines(c.now)
		}
	case 9:
		if refused {
			c.r.Unanswered(c.now, "connection reset", b[1]%2 == 0)
		} else {
			c.r.Missing(c.now)
		}
	case 10:
		if n.Do == DoStop && c.r.Stopping == nil {
			return
		}
		outcomes := []ActOutcome{ActDone, ActMoot, ActRefused, ActForbidden}
		c.r.Send(s.Key(), n)
		c.r.Acted(c.now, s.Key(), n, ActResult{Outcome: outcomes[int(b[1])%len(outcomes)], Verb: "stop", Run: c.run(b, state, version)})
	case 11:
		c.r.TakeNews(c.now, RunEvents{
			RulesChanged: b[1]&1 != 0, RetryOf: &RetryOf{Run: testRun, Attempt: 2, By: "ann", After: int(b[2] % 8)},
			Chains: []ChainRef{{Root: spacelift.RunRef{Account: "acme", Stack: "net", Run: "01ROOT"}}},
		})
		c.r.Deny(c.now, []StateKey{{version, state}})
	case 12:
		was := c.r
		c.r = Record{Run: testRun, StartedAt: c.now}
		c.r.Follow(c.now, was)
	}
	c.r.Calm(c.now)
	c.r.Arrive(c.now)
	c.r.recount(c.now)
}

// claim returns a notification, which may say anything.
func (c *chaos) claim(b []byte, state spacelift.RunState, version int) RunEvent {
	e := notification([]spacelift.RunType{"TRACKED", "PROPOSED", "TASK", ""}[b[3]&3], state, version*(1+100*int(b[3]>>7)))
	e.ReceivedAt, e.Labels = c.now, fuzzLabels[int(b[3]>>2)%len(fuzzLabels)]
	return e
}

// run returns the run as the API shows it.
func (c *chaos) run(b []byte, state spacelift.RunState, version int) spacelift.Run {
	r := spacelift.Run{
		Ref: testRun, Type: spacelift.RunTypeTracked, State: state, StateVersion: version, NeedsApproval: b[3]&32 != 0,
		StackLabels: fuzzLabels[int(b[3])%len(fuzzLabels)], Delta: &spacelift.Delta{Added: int(b[3])},
	}
	for v := range version {
		r.History = append(r.History, spacelift.Transition{State: fuzzStates[(int(b[1])+v)%len(fuzzStates)], StateVersion: v, At: t0})
	}
	r.History = append(r.History, spacelift.Transition{State: state, StateVersion: version, At: c.now})
	return r
}

// fits checks what Gantry would show now.
func (c *chaos) fits() {
	s := c.r.Status(c.now)
	if w := s.WaitingFor; w != nil && (w.What == "" || w.Who == "" || w.Reason == "") {
		c.Errorf("waits for %+v", w)
	}
	if (s.WaitingFor == nil) != (c.r.Situation(c.now).Next().Do == DoFinish) || !slices.Contains(Phases, s.Phase) {
		c.Errorf("phase %q, waits for %+v", s.Phase, s.WaitingFor)
	}
	for _, u := range c.r.Situation(c.now).Explain().Unblock {
		if u.Who == "" || u.How == "" {
			c.Errorf("%s: %+v can unblock it", s.State, u)
		}
	}
	if s.State.Terminal() {
		if _, shown := c.r.apiShowed(StateKey{s.StateVersion, s.State}); !shown {
			c.Errorf("ended in %s (%d), which only a notification says", s.State, s.StateVersion)
		}
	}
	if _, err := json.Marshal(c.r); err != nil {
		c.Error(err)
	}
	c.listsWhatCounts(s)
}

// listsWhatCounts checks that a list offers exactly the verdicts that the run takes, to
// everyone, and that it lists every run that takes an approval.
func (c *chaos) listsWhatCounts(s *RunStatus) {
	content, err := json.Marshal(ListRun(s))
	if err != nil {
		c.Fatal(err)
	}
	var listed Listed
	if err := json.Unmarshal(content, &listed); err != nil {
		c.Fatal(err)
	}
	now := c.r.Situation(c.now)
	n := now.Next()
	if n.Do != doWait && n.Do != DoHold {
		return // its next step writes the list
	}
	for _, by := range []decide.Person{{Name: "ann", Groups: []string{"platform"}}, {Name: "bob", Aliases: []string{"jdoe"}}, {Name: "eve"}} {
		for _, v := range Verdicts {
			no := c.r.RefuseDecision(now, Decision{Verdict: v, By: by}, now.Key())
			if shown := slices.Contains(s.Ballot.Offers(by), v); shown != (no == nil) {
				c.Errorf("%s is offered to %s: %t; the run says %+v", v, by.Name, shown, no)
			}
			shown := listed.Wait != nil && slices.Contains(listed.Wait.Ballot.Offers(by), v)
			if v == Approve && shown != (no == nil) || shown && no != nil {
				c.Errorf("%s is listed for %s in %s: %t; the run says %+v", v, by.Name, s.Phase, shown, no)
			}
		}
	}
}
