package managed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// longestRetry bounds the wait before a run is tried again.
const longestRetry = time.Hour

// decideEnd decides about a run that has ended, by what the API showed: an end
// that only a notification named is none yet.
func decideEnd(s *Situation) Next {
	end := Next{Do: DoFinish, Phase: PhaseDone, Reason: outcome(s.RunStatus)}
	if s.unjudged() != nil {
		return judging(s, end)
	}
	if s.chainsWait() {
		return end.to(DoNotifyChains)
	}
	if !s.Managed {
		return end
	}
	if s.releases() {
		if until := s.chainGraceUntil(); s.Now.Before(until) {
			wait := end.to(doWait)
			wait.What, wait.Who, wait.Until = WaitAnswer, whoNobody, until
			wait.Then = "Gantry releases the stacks that follow, unless a chain says that this run is one of its own"
			return s.signalFirst(wait)
		}
		if n, wait := endsBehindParents(s, end); wait {
			return s.signalFirst(n)
		}
		return end.to(DoRelease)
	}
	return s.signalFirst(decideRetry(s, end))
}

// withLastRules reads the rules before the execution ends if they are those of other labels
// than the API shows at the end: what a forgery claimed, or what was changed meanwhile.
// Answers show both forever.
func (s *Situation) withLastRules(n Next) Next {
	if n.Do != DoFinish || s.rules == nil || slices.Equal(s.rules.Labels, s.Labels) {
		return n
	}
	if read := s.attempt(n.to(DoRules)); read.Do == DoRules {
		return read
	}
	return n // they can't be read
}

// signalFirst signals what waits for the end of the run before the execution waits or
// ends.
func (s *Situation) signalFirst(n Next) Next {
	if (n.Do == DoFinish || n.Do == doWait) && s.othersMayWait() {
		n.Journal, n.Until = false, time.Time{}
		return n.to(DoSignalWaiting)
	}
	return n
}

// decideRetry decides about a run that has ended and whose end releases nothing any more.
func decideRetry(s *Situation, end Next) Next {
	switch {
	case s.State != spacelift.RunStateFailed:
		return end
	case s.Retry != nil && s.Retry.As == s.Run: // the API shows the next attempt, and would deny this end
		return end
	case s.rules == nil:
		return s.attempt(end.to(DoRules))
	case !s.diagnosed:
		return s.attempt(end.to(DoDiagnose))
	case !s.retryJudged:
		return s.attempt(end.to(DoRules)) // by what the labels say now, which the diagnosis has read
	case s.Retry == nil || s.Retry.State != RetryPlanned:
		return end
	}
	n := Next{
		Do: doWait, Phase: PhaseRetrying, Journal: true, What: WaitRetry, Until: s.Retry.At,
		Reason: fmt.Sprintf("the run failed (%s) and is tried again, attempt %d of %d", s.Failure.Cause, s.Retry.Attempt, s.Retry.Of),
		Who:    "no one; the operator of Gantry may stop it", Then: "Gantry asks Spacelift to retry the run",
	}
	if s.Retry.Held != "" && !s.rulesStale {
		n.What, n.Reason = WaitStack, fmt.Sprintf("the run failed (%s) and its retry waits: %s", s.Failure.Cause, s.Retry.Held)
		n.Who = "anyone who may unlock or enable the stack in Spacelift; an operator may stop the retry"
	}
	if s.Now.Before(s.Retry.At) {
		return n
	}
	n.Until = time.Time{}
	n.Journal = false
	switch {
	case s.readAt.Before(s.Retry.At):
		return s.readFirst(n)
	case s.outdated() || s.rulesRead.Before(s.Retry.At):
		return s.attempt(n.to(DoRules))
	}
	n.Journal = true
	return n.to(DoRetry)
}

// decidedElsewhere reports whether the run left a state that needed a decision,
// without Gantry, and the API has not shown yet who decided.
func (s *Situation) decidedElsewhere() bool {
	return s.Managed && s.rules != nil && s.open != nil && s.didAbout(*s.open) == "" && !s.read
}

// retryRules reports whether a failed run may be tried again by its policy, and
// every rule that was considered.
func (s *Situation) retryRules() (allowed bool, rules []Rule) {
	return s.Policy.Retry(policy.FailureFacts{
		Cause: s.Failure.Cause, ApplyBegan: s.Failure.ApplyBegan, Attempt: s.RetryOf.attempt(), EndedBy: s.endedBy(),
	})
}

// endedBy is the person whose decision through Gantry ended the run; empty for
// none. It counts before any text is read for a cause.
func (s *Situation) endedBy() string {
	for _, d := range slices.Backward(s.Decisions) {
		if d.Verdict == Reject {
			return d.By
		}
	}
	if s.stopping != nil {
		return s.stopping.By
	}
	return ""
}

// whyNot is the reason that forbids; empty if no rule does.
func whyNot(rules []Rule) string {
	var reasons []string
	for _, r := range rules {
		if r.Effect == EffectForbids {
			reasons = append(reasons, fmt.Sprintf("%s (%s)", r.Detail, r.Origin))
		}
	}
	return strings.Join(reasons, "; ")
}

// ConsiderRetry decides whether a failed run is tried again, once its cause and
// the rules in effect are known, and takes back what rules that changed
// meanwhile no longer allow. What a person asked for stays.
func (r *Record) ConsiderRetry(at time.Time) {
	s := r.Situation(at)
	if s.State != spacelift.RunStateFailed || !s.diagnosed || s.outdated() {
		return
	}
	allowed, rules := s.retryRules()
	switch first := !r.RetryJudged; {
	case r.Retry == nil && first && allowed:
		r.Retry = new(s.nextRetry(at))
	case r.Retry == nil && first && s.Policy.Retries.Value > 0:
		r.Note(at, KindDecision, "the run is not tried again: %s", whyNot(rules))
	case r.Retry != nil && r.Retry.By == "" && r.Retry.State == RetryPlanned && !allowed:
		r.Retry.callOff(whyNot(rules))
		r.Note(at, KindDecision, "the run is not tried again after all: %s", r.Retry.Reason)
	}
	if !r.RetryJudged {
		r.RetryJudged = true
		r.notifyFailed(r.Situation(at), at)
	}
}

// nextRetry is the attempt that follows a failed one: its wait doubles with each.
func (s *Situation) nextRetry(at time.Time) Retry {
	attempt, most := s.RetryOf.attempt(), s.Policy.Retries.Value+1
	wait := decide.Backoff(time.Duration(s.Policy.RetryBackoff.Value), attempt-1, longestRetry)
	return Retry{
		State: RetryPlanned, Attempt: attempt + 1, Of: most, At: at.Add(wait),
		Reason: fmt.Sprintf("the cause is %s, and %s allows %d attempts", s.Failure.Cause, s.Policy.Retries.Origin, most),
	}
}

// outcome says how a run ended. It rests on the last event and on what Gantry
// did, never on the number of events received in between.
func outcome(s *RunStatus) string {
	end := entered(s)
	var text, by string
	if end.Actor != "" { // notifications name nobody
		by = " by " + end.Actor
		if _, ours := spacelift.MarkOf(spacelift.Transition{Note: end.Note, Username: end.Actor}); ours {
			by = " by Gantry"
		}
	}
	switch s.State {
	case spacelift.RunStateFinished:
		text = finished(s)
	case spacelift.RunStateFailed:
		text = "the run failed" + cause(s)
	case spacelift.RunStateDiscarded:
		text = "the plan was discarded" + by
	case spacelift.RunStateCanceled:
		text = "the run was cancelled before it started" + by
	case spacelift.RunStateStopped:
		text = "the run was stopped" + by
	case spacelift.RunStateSkipped:
		text = "Spacelift skipped the run"
	}
	if note := spacelift.Unsigned(end.Note); s.Failure == nil || s.Failure.Source != "note" && !strings.Contains(s.Failure.Evidence, note) {
		text += decide.AfterColon(note)
	}
	return text
}

// cause says why a run failed, and what follows from it, as far as is known.
func cause(s *RunStatus) (text string) {
	if s.Failure != nil {
		text = fmt.Sprintf(", and the cause is %s", s.Failure.Cause)
		if s.Failure.Evidence != "" {
			text += fmt.Sprintf(" (%s)", s.Failure.Evidence)
		}
	}
	switch {
	case s.Retry.calledOff():
		text += "; Gantry did not retry it: " + s.Retry.Reason
	case s.Retry.underWay():
		if s.Retry.By != "" {
			text += fmt.Sprintf("; %s retried it", s.Retry.By)
		} else {
			text += fmt.Sprintf("; attempt %d of %d follows", s.Retry.Attempt, s.Retry.Of)
		}
		if s.Retry.As.Run != "" && s.Retry.As != s.Run {
			text += fmt.Sprintf(" as run %s", s.Retry.As.Run)
		}
	}
	return text
}

func finished(s *RunStatus) string {
	text := whatFinished(s)
	if s.Stop != nil {
		text += fmt.Sprintf("; %s wanted it stopped, which came too late", s.Stop.By)
		if len(s.Followers) > 0 || len(s.Released()) > 0 {
			text += ", so Gantry releases nothing that follows it"
		}
	}
	return text
}

func whatFinished(s *RunStatus) string {
	switch {
	case s.Type == spacelift.RunTypeProposed:
		return "the preview finished"
	case s.Type == spacelift.RunTypeTask:
		return "the task finished"
	case s.Type == spacelift.RunTypeTesting:
		return "the module's test finished"
	case s.Type == spacelift.RunTypeDestroy:
		return "the stack's resources were destroyed"
	case s.Type != spacelift.RunTypeTracked || s.Delta == nil:
		return "the run finished"
	case s.Delta.Added+s.Delta.Changed+s.Delta.Deleted == 0:
		return "the run finished: the plan had no changes"
	}
	return fmt.Sprintf("the run finished and the plan was applied (%s)", applied(*s.Delta))
}

func applied(d spacelift.Delta) string {
	return fmt.Sprintf("%d added, %d changed, %d deleted", d.Added, d.Changed, d.Deleted)
}
