package managed

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// RetryRunType is the workflow type of RetryRun, which tries a failed run
// again. There is at most one at a time per run, under RetryRunID, for the first to
// ask: ManageRun by policy, or a person. Another begins only after one that made
// no run.
const RetryRunType = "RetryRun"

// RetryRunInput says which run and why.
type RetryRunInput struct {
	Run     spacelift.RunRef `json:"run"`
	By      string           `json:"by"`      // a person's name, or "gantry"
	Reason  string           `json:"reason"`  // a sentence
	Attempt int              `json:"attempt"` // of the new run: 2 for the first retry

	// TriggeredBy are the people behind the run: see RunStatus.Triggerers. What the API
	// shows is added.
	TriggeredBy []string `json:"triggeredBy,omitempty"`

	// Judged has what the policy's own retry rests on; nil for one that a person asked for.
	Judged *Judged `json:"judged,omitempty"`

	// Waits says that the run's execution has not ended, so that it is signaled;
	// that execution never sets it.
	Waits bool `json:"waits,omitempty"`

	// Chains are the chains of the run, as far as is known. The new one joins them.
	Chains []ChainRef `json:"chains,omitempty"`
}

// RetryRunOutcome is the result of RetryRun.
type RetryRunOutcome struct {
	New    spacelift.RunRef `json:"new,omitzero"`     // zero when it was not retried
	Reason string           `json:"reason,omitempty"` // why not, as a sentence

	// Block is the brake that holds the stack, if that was why. It may pass.
	Block *spacelift.Block `json:"block,omitempty"`

	// Forbidden says that what the retry rests on has changed, if that was why.
	Forbidden bool `json:"forbidden,omitempty"`
}

// RetryOf says that a run tries another one again.
type RetryOf struct {
	Run     spacelift.RunRef `json:"run"`
	Attempt int              `json:"attempt"` // 2 for the first retry
	By      string           `json:"by"`      // a person's name, or "gantry"

	// After is the state version of the failure where both attempts have the same
	// id: all until then belongs to the one before. 0: they have not.
	After int `json:"after,omitempty"`

	// TriggeredBy are the people who triggered the attempts before, or asked Gantry
	// for them: Spacelift names Gantry's own key alone.
	TriggeredBy []string `json:"triggeredBy,omitempty"`
}

// retried records that the run was retried, and as what: the policy's own retry is
// not needed any more.
func (r *Record) retried(at time.Time, by string, as spacelift.RunRef) {
	if r.Retry == nil {
		r.Retry = &Retry{Attempt: r.RetryOf.attempt() + 1, Of: r.RetryOf.attempt() + 1, At: at}
	}
	r.Retry.made(as)
	if by != SourceGantry {
		r.Retry.By, r.Retry.Reason = by, by+" retried it"
		r.journal(at, KindPerson, by, "%s retried the run, as run %s", by, as.Run)
	}
}

// RetryWaits records that an earlier RetryRun has not ended, so that the retry has
// to wait for it.
func (r *Record) RetryWaits(at time.Time) {
	r.Failed(at, DoRetry, "Gantry does not retry the run yet: a retry was requested before, and Spacelift has not answered yet")
	r.Retry.At = r.Backoff.Until
}

// RetryStarts records that RetryRun retries the run, or why it could not be started.
func (r *Record) RetryStarts(at time.Time, failure string) {
	r.clearBackoff(DoRetry)
	if failure != "" {
		r.Retry.callOff("the retry could not be started: " + failure)
		r.Note(at, KindNote, "%s", r.Retry.Reason)
		return
	}
	r.Retry.start()
	r.Note(at, KindAction, "Gantry retries the run: %s", r.Retry.Reason)
}

// RetryEnds records the result of RetryRun.
func (r *Record) RetryEnds(at time.Time, outcome RetryRunOutcome) {
	switch {
	case outcome.Reason == "":
		r.Retry.made(outcome.New)
	case outcome.Forbidden && r.postponeRetry(at, outcome.Reason):
		r.RulesStale = true // ConsiderRetry decides by the new ones
	case outcome.Block != nil && r.postponeRetry(at, outcome.Reason):
	case r.Retry.callOff(outcome.Reason):
		r.Note(at, KindNote, "the run was not retried: %s", outcome.Reason)
	}
}

// postponeRetry records that a lock or another brake of the stack, or a changed policy,
// keeps the retry from being made. It returns false when that has taken too long.
func (r *Record) postponeRetry(at time.Time, why string) bool {
	since := r.Retry.HeldSince
	if since.IsZero() {
		since = at
	}
	if at.Sub(since) >= RetryHeld {
		return false
	}
	news := r.Retry.Held != why
	until := at.Add(decide.Clamp(at.Sub(since), BlockFirst, BlockMost))
	if r.Retry.postpone(at, until, decide.Fit(why, decide.MaxText)) && news {
		r.Note(at, KindNote, "the retry waits: %s", why)
	}
	return true
}

// attempt is which attempt the run is; nil says that it is the first.
func (of *RetryOf) attempt() int {
	if of == nil {
		return 1
	}
	return of.Attempt
}

// names are all who are behind an attempt, as they were spelled.
func (of *RetryOf) names() []string {
	switch {
	case of == nil:
		return nil
	case of.By == SourceGantry:
		return of.TriggeredBy
	}
	return append(slices.Clone(of.TriggeredBy), of.By)
}

// Triggerers are the names of all who are behind the run: who triggered it, and
// who is behind the attempts that it tries again, the run whose place it takes, and
// what goes before it in a chain.
func (s *RunStatus) Triggerers() []string {
	names := append([]string{s.TriggeredBy}, s.RetryOf.names()...)
	names = append(names, s.Behind...)
	for _, c := range s.Chains {
		names = append(names, c.TriggeredBy...)
	}
	return Distinct(names)
}

// Distinct leaves out what is empty, and names that stand there before, however
// they are spelled.
func Distinct(names []string) (list []string) {
	for _, name := range names {
		if name != "" && !slices.ContainsFunc(list, func(n string) bool { return decide.SameName(n, name) }) {
			list = append(list, name)
		}
	}
	return list
}

// setRetryOf records that the run tries another one again, or itself under the same
// id. More than one retry may end up with the same run; the people behind each of
// them are kept.
func (r *Record) setRetryOf(at time.Time, of RetryOf) {
	if of.Run == r.Run && of.After > r.after() {
		r.Again = &of
		r.retried(at, of.By, of.Run)
		return
	}
	was := r.RetryOf
	if was != nil && was.Run == of.Run {
		was, of = new(of), *was
	}
	of.After = max(of.After, r.after())
	of.TriggeredBy = Distinct(append(slices.Clone(of.TriggeredBy), was.names()...))
	r.RetryOf = &of
}

// after is the state version that ended the attempt before under the same id; 0
// if there was none.
func (r *Record) after() int {
	if r.RetryOf == nil {
		return 0
	}
	return r.RetryOf.After
}

// Past reports whether an event is about an attempt before under the same id.
func (r *Record) Past(e RunEvent) bool { return r.after() > 0 && e.StateVersion <= r.after() }

// NextAttempt starts the execution of the next attempt under the same id, with
// what is known of that already.
func (r *Record) NextAttempt() ManageRunInput {
	of := *r.Again
	of.TriggeredBy = Distinct(append(slices.Clone(of.TriggeredBy), r.RetryOf.names()...))
	next := Record{RetryOf: &of}
	return ManageRunInput{
		Run: r.Run, RetryOf: &of, Chains: r.Facts().Released(), Behind: r.Behind,
		Events: slices.DeleteFunc(slices.Clone(r.Events), next.Past),
	}
}

// Retried says that a person retried a run, and as what.
type Retried struct {
	By string           `json:"by"`
	As spacelift.RunRef `json:"as"`
}

// RetryHeld is the time that a retry waits for a lock, or another brake of the
// stack, before it is given up.
const RetryHeld = 24 * time.Hour

// TakeDiagnosis records why the run failed. A run that has not failed, by what is
// known now, needs no reason.
func (r *Record) TakeDiagnosis(at time.Time, why Failure) {
	if now, _ := r.current(); now.State != spacelift.RunStateFailed {
		return
	}
	why.Evidence = decide.Fit(why.Evidence, decide.MaxText)
	r.Diagnosed, r.Failure = true, &why
	r.Note(at, KindNote, "the run failed, and the cause is %s%s", why.Cause, decide.AfterColon(why.Evidence))
	r.ConsiderRetry(at)
}
