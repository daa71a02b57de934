package managed

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/notify"
)

// fault is a failure of Gantry's own code on a run: a bug. The execution
// continues as a new one, which shows the fault, reads the run after a pause and
// tries again. A workflow task that panics would be repeated for ever instead, and the
// history of an execution that had a fault would not replay once the bug is
// fixed.
type fault struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Tries  int       `json:"tries"` // in a row that ended in a fault
}

// faultFirst and faultLongest bound the pause before the next try.
const faultFirst, faultLongest = 10 * time.Second, time.Hour

// ErrTypeFault is the type of the error for a request that Gantry's own code failed
// on.
const ErrTypeFault = "Fault"

// Broke records that Gantry's own code failed, and raises an alarm once.
func (r *Record) Broke(at time.Time, bug error) {
	tries := 1
	if r.Fault != nil {
		tries = r.Fault.Tries + 1
	}
	r.Fault = &fault{At: at, Reason: decide.Fit(bug.Error(), decide.MaxText), Tries: tries}
	for i := range r.Askings {
		if q := r.Askings[i].sending(); q != nil {
			q.drop() // its answer is lost
		}
	}
	if tries > 1 {
		return
	}
	r.Journal = append(r.Journal, TimelineEntry{At: at, Kind: KindNote, Source: SourceGantry, Summary: "Gantry's own code failed on this run: " + r.Fault.Reason})
	if r.Rules == nil {
		return
	}
	for _, channel := range r.Rules.Policy.Notify.Value {
		r.Outbox = append(r.Outbox, Notice{Channel: channel, Message: notify.Message{
			ID: notify.MessageID(ManageRunID(r.Run), notify.RunHeld, channel, "fault", at.Format(time.RFC3339)), At: at,
			Type: notify.RunHeld, Thread: ManageRunID(r.Run), Urgency: notify.Alarm, Account: string(r.Run.Account), Stack: string(r.Run.Stack), Run: string(r.Run.Run), URL: r.Rules.URL,
			Title: fmt.Sprintf("%s: Gantry can't manage a run", r.Run.Stack),
			Text:  "Gantry's own code failed on this run. " + decide.Sentence(faultWho+" can repair that: "+r.Fault.Reason),
		}})
	}
}

const faultWho = "the operator of Gantry, or anyone who may confirm or discard the run in Spacelift"

// Until returns the time of the next try.
func (f fault) Until() time.Time {
	return f.At.Add(decide.Backoff(faultFirst, f.Tries-1, faultLongest))
}

// waitingFor says that a run waits for Gantry to be repaired.
func (f fault) waitingFor() *WaitingFor {
	return &WaitingFor{
		What: WaitAnswer, Reason: "Gantry's own code failed on this run: " + f.Reason, Since: f.At, Until: f.Until(),
		Who: faultWho, Next: "Gantry reads the run and tries again",
	}
}

// Bare returns the status of a run without any decision about it.
func (r *Record) Bare() *RunStatus {
	s := &RunStatus{Run: r.Run, StartedAt: r.StartedAt, Phase: PhaseHolding, RetryOf: r.RetryOf, Chains: slices.Clone(r.Chains), Timeline: slices.Clone(r.Journal)}
	if r.Shown != nil {
		s.State, s.StateVersion = r.Shown.State, r.Shown.StateVersion
	}
	f := fault{At: r.StartedAt, Reason: "it could not say how the run is", Tries: 1}
	if r.Fault != nil {
		f = *r.Fault
	}
	s.WaitingFor = f.waitingFor()
	return s
}

// DecidesAgain notes that the execution has decided without a fault.
func (r *Record) DecidesAgain(at time.Time) {
	if r.Fault != nil {
		r.Fault = nil
		r.Note(at, KindNote, "Gantry decides about the run again")
	}
}
