package managed

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// The end of a run signals whatever waits for it before the execution ends, and once for
// each end. Nothing waits for previews and tests of modules.
func TestAnEndSignalsWhatWaits(t *testing.T) {
	for _, tc := range []struct {
		state spacelift.RunState
		typ   spacelift.RunType
		want  Action
	}{
		{spacelift.RunStateFinished, spacelift.RunTypeTracked, DoSignalWaiting},
		{spacelift.RunStateDiscarded, spacelift.RunTypeTracked, DoSignalWaiting},
		{spacelift.RunStateFailed, spacelift.RunTypeDestroy, DoSignalWaiting},
		{spacelift.RunStateFinished, spacelift.RunTypeTask, DoSignalWaiting},
		{spacelift.RunStateFinished, spacelift.RunTypeProposed, DoFinish},
		{spacelift.RunStateFinished, spacelift.RunTypeTesting, DoFinish},
	} {
		s := about(at(tc.state, runType(tc.typ)))
		s.waitersKnow, s.diagnosed, s.retryJudged = nil, true, true
		if n := s.Next(); n.Do != tc.want || n.Phase != PhaseDone {
			t.Errorf("%s %s: decided %s in phase %s, want %s", tc.typ, tc.state, n.Do, n.Phase, tc.want)
		}
		s.waitersKnow = new(s.Key())
		if n := s.Next(); n.Do != DoFinish {
			t.Errorf("%s %s: decided %s after that", tc.typ, tc.state, n.Do)
		}
	}
}

// A plan that another run of its stack holds up is checked when that one ends, and not
// only after a time.
func TestAnEndFreesAPlanBehindAnotherRun(t *testing.T) {
	s := about(at(spacelift.RunStateUnconfirmed, labels("gantry:managed", "gantry:confirm=auto")))
	s.Block, s.blockRead = &spacelift.Block{What: spacelift.BlockRun, By: "01OTHER", Reason: "run 01OTHER goes first"}, t0
	for ended, want := range map[time.Duration]Action{-time.Second: DoHold, time.Second: DoRead} {
		if s.otherEnded = t0.Add(ended); s.Next().Do != want {
			t.Errorf("another run ended %s after the check: decided %s, want %s", ended, s.Next().Do, want)
		}
	}
	// The check came right after an end: it may have missed the next one.
	s.otherEnded, s.Now = t0.Add(-time.Second), t0.Add(30*time.Second)
	if n := s.Next(); n.Do != DoRead {
		t.Errorf("half a minute after a check that an end caused: decided %s until %s", n.Do, n.Until)
	}
}

// A run that gives its chain time to begin signals what waits for its end before that, and
// once more if it releases nothing in the end.
func TestAnEndSignalsWhatWaitsBeforeItWaitsForAChain(t *testing.T) {
	s := about(at(spacelift.RunStateFinished, labels("gantry:managed")))
	s.TriggeredBy, s.followers, s.waitersKnow = "api::01K", &Followers{Stacks: []spacelift.StackID{"web"}, At: s.Now}, nil
	s.Entered.At = s.Now
	if n := s.Next(); n.Do != DoSignalWaiting {
		t.Errorf("decided %s, want %s", n.Do, DoSignalWaiting)
	}
	s.waitersKnow = new(s.Key())
	if n := s.Next(); n.Do != doWait || n.Until.IsZero() {
		t.Errorf("decided %s until %s after that", n.Do, n.Until)
	}
	r := Record{WaitersKnow: new(s.Key())}
	if r.ReleaseNothing(s.Key()); r.WaitersKnow != nil {
		t.Error("what waits is not signaled once more")
	}
}
