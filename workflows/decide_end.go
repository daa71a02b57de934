package workflows

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// longestRetry bounds the wait before a run is tried again.
const longestRetry = time.Hour

// decideEnd decides about a run that has ended. What only a notification told
// is looked at where it would make Gantry act, or say who acted. A run that
// finished or was skipped is looked at only if its plan still waited, because
// that would cost each of them.
func decideEnd(s situation) next {
	end := next{Do: doFinish, Phase: PhaseDone, Reason: outcome(s.RunStatus)}
	if s.State != spacelift.RunStateFailed && s.outsider() {
		looking := passing(s, PhaseFollowing, fmt.Sprintf("the run is %s, and Gantry looks who decided", s.State))
		return s.attempt(looking.to(doRead))
	}
	if s.chainsWait() {
		return end.to(doTellChains)
	}
	if !s.Managed {
		return end
	}
	if s.releases() {
		if until := s.chainMayTell(); s.now.Before(until) {
			wait := end.to(doWait)
			wait.What, wait.Who, wait.Until = WaitAnswer, whoNobody, until
			wait.Then = "Gantry releases the stacks that follow, unless a chain says that this run is one of its own"
			return wait
		}
		return end.to(doRelease)
	}
	switch {
	case s.State != spacelift.RunStateFailed:
		return end
	case s.Retry != nil && s.Retry.As == s.Run: // the API shows the next attempt, and would deny this end
		return end
	case s.rules == nil:
		return s.attempt(end.to(doRules))
	case !s.diagnosed:
		return s.attempt(end.to(doDiagnose))
	case s.Retry == nil || s.Retry.Ended:
		return end
	}
	n := next{
		Do: doWait, Phase: PhaseRetrying, Journal: true, What: WaitRetry, Until: s.Retry.At,
		Reason: fmt.Sprintf("the run failed (%s) and is tried again, attempt %d of %d", s.Failure.Cause, s.Retry.Attempt, s.Retry.Of),
		Who:    "nobody has to; whoever operates Gantry may stop it", Then: "Gantry asks Spacelift to retry the run",
	}
	if s.now.Before(s.Retry.At) {
		return n
	}
	n.Until = time.Time{}
	return n.to(doRetry)
}

// outsider reports whether the run went on, or ended, without Gantry, and
// nobody has looked yet who decided.
func (s situation) outsider() bool {
	if !s.Managed || s.rules == nil {
		return false
	}
	switch s.State {
	case spacelift.RunStateDiscarded, spacelift.RunStateStopped, spacelift.RunStateCanceled:
		if s.stopping != nil && s.stopping.Did != "" {
			return false
		}
		if s.open != nil {
			return s.open.Done == "" && !s.open.Sought && !s.read
		}
		return !s.read && !s.sought
	case spacelift.RunStateFinished, spacelift.RunStateSkipped:
		return s.open != nil && s.open.Done == "" && !s.open.Sought && !s.read
	case spacelift.RunStateConfirmed, spacelift.RunStatePreparingApply, spacelift.RunStateApplying:
		return s.open != nil && s.open.Key.State == spacelift.RunStateUnconfirmed && s.open.Done == "" && !s.open.Sought && !s.read
	}
	return false
}

// retryOf says whether a failed run is to be tried again, and why; a zero
// Attempt is no. attempt is that of the failed run.
func retryOf(p policy.Policy, f Failure, attempt int, now time.Time) Retry {
	no := func(format string, args ...any) Retry {
		return Retry{Reason: fmt.Sprintf(format, args...), Ended: true}
	}
	most := p.Retries.Value + 1
	switch {
	case p.Retries.Value == 0:
		return no("")
	case attempt >= most:
		return no("it was attempt %d of %d (%s)", attempt, most, p.Retries.Origin)
	case !slices.Contains(p.RetryCauses.Value, f.Cause):
		return no("the cause is %s, and %s lists what is tried again", f.Cause, p.RetryCauses.Origin)
	case f.ApplyBegan && !p.RetryAfterApply.Value:
		return no("an apply phase had begun, or may have (%s)", p.RetryAfterApply.Origin)
	}
	wait := min(time.Duration(p.RetryBackoff.Value)<<min(attempt-1, 10), longestRetry)
	return Retry{
		Attempt: attempt + 1, Of: most, At: now.Add(wait),
		Reason: fmt.Sprintf("the cause is %s, and %s allows %d attempts", f.Cause, p.Retries.Origin, most),
	}
}
