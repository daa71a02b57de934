package model

import (
	"slices"
	"strings"
)

// causes are the documented examples of how a failure shows its cause
// (docs/reference/failures.md). If several fit, the one that a retry can't fix wins.
var causes = []struct {
	cause string
	texts []string
}{
	{"policy", []string{"denied by a plan policy", "rejected by an approval policy"}},
	{"code", []string{"Unsupported argument", "Reference to undeclared resource", "the following inputs are missing"}},
	{"credentials", []string{"ExpiredToken", "AccessDenied", "PERMISSION_DENIED", "AuthorizationFailed"}},
	{"capacity", []string{"no available workers", "ThrottlingException", "RESOURCE_EXHAUSTED", "API rate limit exceeded"}},
	{"unknown", []string{"VpcLimitExceeded"}},
	{"transient", []string{"Error acquiring the state lock", "connection refused", "i/o timeout", "503 Service Unavailable"}},
}

// Cause returns the cause that a note shows; empty if it is none of the documented
// examples.
func Cause(note string) string {
	for _, c := range causes {
		if slices.ContainsFunc(c.texts, func(t string) bool { return strings.Contains(note, t) }) {
			return c.cause
		}
	}
	return ""
}

// Failure is the end of a failed run, as far as policy depends on it.
type Failure struct {
	Cause    string
	ByPerson bool // a person or key failed or rejected it
	Applied  bool // the apply phase had begun
	Attempts int  // retries that led to this run
}

// MayRetry returns why the policy doesn't retry the run, or nothing.
func (p Policy) MayRetry(f Failure) string {
	switch {
	case !p.Managed || len(p.Invalid) > 0:
		return "the labels can't be followed"
	case f.Attempts >= p.Retries:
		return "the policy allows no more retries"
	case f.ByPerson:
		return "a person ended it"
	case !slices.Contains(p.RetryCauses, f.Cause):
		return "the cause is " + f.Cause
	case f.Applied && !p.RetryAfterApply:
		return "the apply had begun"
	}
	return ""
}
