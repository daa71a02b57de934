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
func decideEnd(s Situation) Next {
	end := Next{Do: DoFinish, Phase: PhaseDone, Reason: outcome(s.RunStatus)}
	if s.chainsWait() {
		return end.to(DoNotifyChains)
	}
	if !s.Managed {
		return end
	}
	if s.releases() {
		if until := s.chainMayTell(); s.Now.Before(until) {
			wait := end.to(doWait)
			wait.What, wait.Who, wait.Until = WaitAnswer, whoNobody, until
			wait.Then = "Gantry releases the stacks that follow, unless a chain says that this run is one of its own"
			return wait
		}
		if n, wait := endsBehindParents(s, end); wait {
			return n
		}
		return end.to(DoRelease)
	}
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
		Who:    "nobody has to; whoever operates Gantry may stop it", Then: "Gantry asks Spacelift to retry the run",
	}
	if s.Retry.Held != "" {
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
		return s.reading(n)
	case s.outdated() || s.rulesRead.Before(s.Retry.At):
		return s.attempt(n.to(DoRules))
	}
	n.Journal = true
	return n.to(DoRetry)
}

// outsider reports whether the run went on from a state that asked for a
// decision, without Gantry, and the API has not shown yet who decided.
func (s Situation) outsider() bool {
	return s.Managed && s.rules != nil && s.open != nil && s.didAbout(*s.open) == "" && !s.read
}

// retryRules reports whether a failed run may be tried again by its policy, and
// every rule that was considered.
func (s Situation) retryRules() (allowed bool, rules []Rule) {
	return s.Policy.Retry(policy.FailureFacts{
		Cause: s.Failure.Cause, ApplyBegan: s.Failure.ApplyBegan, Attempt: s.RetryOf.attempt(), EndedBy: s.endedBy(),
	})
}

// endedBy is the person whose decision through Gantry ended the run; empty for
// none. It counts before any text is read for a cause.
func (s Situation) endedBy() string {
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
		r.Retry.CallOff(whyNot(rules))
		r.Note(at, KindDecision, "the run is not tried again after all: %s", r.Retry.Reason)
	}
	if !r.RetryJudged {
		r.RetryJudged = true
		r.tellFailed(r.Situation(at), at)
	}
}

// nextRetry is the attempt that follows a failed one: its wait doubles with each.
func (s Situation) nextRetry(at time.Time) Retry {
	attempt, most := s.RetryOf.attempt(), s.Policy.Retries.Value+1
	wait := decide.Backoff(time.Duration(s.Policy.RetryBackoff.Value), attempt-1, longestRetry)
	return Retry{
		State: RetryPlanned, Attempt: attempt + 1, Of: most, At: at.Add(wait),
		Reason: fmt.Sprintf("the cause is %s, and %s allows %d attempts", s.Failure.Cause, s.Policy.Retries.Origin, most),
	}
}
