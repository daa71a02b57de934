package policy

import (
	"fmt"
	"slices"
	"strconv"
)

// FailureFacts are the facts of a failed run that a policy considers.
type FailureFacts struct {
	Cause      Cause
	ApplyBegan bool   // an apply phase had begun, or may have
	Attempt    int    // which attempt at the run failed, from 1
	EndedBy    string // the person whose decision ended the run; empty for none
}

// Retry reports whether a failed run is tried again, and every rule that was
// considered. A policy with problems never allows it: a label that can't be
// followed may have been meant to forbid it.
func (p Policy) Retry(f FailureFacts) (retry bool, rules []Rule) {
	retry = true
	consider := func(name, value, origin string, allows bool, format string, args ...any) {
		effect := EffectAllows
		if !allows {
			retry, effect = false, EffectForbids
		}
		rules = append(rules, Rule{Name: name, Value: value, Origin: origin, Effect: effect, Detail: fmt.Sprintf(format, args...)})
	}
	attempts := p.Retries.Value + 1
	retries, causes := strconv.Itoa(p.Retries.Value), several(p.RetryCauses.Value)
	switch {
	case p.Retries.Value == 0:
		consider("retries", retries, p.Retries.Origin, false, "failed runs are not tried again")
		return retry, rules
	case f.Attempt >= attempts:
		consider("retries", retries, p.Retries.Origin, false, "it was attempt %d of %d", f.Attempt, attempts)
	default:
		consider("retries", retries, p.Retries.Origin, true, "up to %d attempts", attempts)
	}
	for _, problem := range p.Problems {
		consider("labels", problem.Label, problem.Label, false, "%s can't be followed: %s; %s", problem.Label, problem.Problem, problem.Remedy)
	}
	if f.EndedBy != "" {
		consider("endedBy", f.EndedBy, f.EndedBy, false, "%s ended the run, so only a person tries it again", f.EndedBy)
	}
	if slices.Contains(p.RetryCauses.Value, f.Cause) {
		consider("retryCauses", causes, p.RetryCauses.Origin, true, "the cause is %s", f.Cause)
	} else {
		consider("retryCauses", causes, p.RetryCauses.Origin, false, "the cause is %s, which is not among those that are tried again", f.Cause)
	}
	if f.ApplyBegan {
		consider("retryAfterApply", strconv.FormatBool(p.RetryAfterApply.Value), p.RetryAfterApply.Origin, p.RetryAfterApply.Value, "an apply phase had begun, or may have")
	}
	return retry, rules
}

// RetryableCauses lists the causes that a retry can fix.
var RetryableCauses = []Cause{CauseTransient, CauseCapacity}

// Retryable reports whether a retry can fix a cause.
func Retryable(c Cause) bool { return slices.Contains(RetryableCauses, c) }
