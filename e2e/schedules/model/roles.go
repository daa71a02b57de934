package model

import (
	"slices"
	"strings"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// Grant says whether a role holds.
type Grant string

// The grants. A role that holds by space or label may be unknown to Gantry for a while, and
// for a stack that it doesn't manage.
const (
	Held    Grant = "held"
	Open    Grant = "open"
	Never   Grant = "never"
	Unknown Grant = "unknown" // nobody that Gantry trusts vouches for the caller
)

// May returns whether the bearer of a token has a role for a stack, given its space and
// every label that it had lately (docs/how-to/sign-in.md, "Give roles").
func (c Config) May(token, role, stack, space string, labels ...string) Grant {
	bearer, found := c.Token(token)
	switch {
	case !found:
		return Never
	case bearer.Signs == history.Stranger, bearer.Revoked:
		return Unknown
	}
	if includes(bearer.Role, role) {
		return Held
	}
	best := Never
	for _, s := range bearer.Scopes {
		switch {
		case !includes(s.Role, role) || len(s.Stacks) > 0 && !slices.ContainsFunc(s.Stacks, func(p string) bool { return matches(p, stack) }):
		case len(s.Labels) > 0 && !slices.ContainsFunc(s.Labels, func(l string) bool { return slices.Contains(labels, l) }):
		case len(s.Spaces)+len(s.Labels) == 0:
			return Held
		case len(s.Spaces) == 0 || in(space, s.Spaces):
			best = Open
		}
	}
	return best
}

// includes reports whether a role includes another one: who decides and who repairs are
// apart.
func includes(has, role string) bool {
	return has == role || has == "admin" || role == "viewer" && has != ""
}

// in reports whether a space is one of these, or below one. The spaces of a batch are
// named after those that they are in: production/enforced is in production.
func in(space string, spaces []string) bool {
	return slices.ContainsFunc(spaces, func(s string) bool { return space == s || strings.HasPrefix(space, s+"/") })
}

// matches reports whether a text fits a pattern, in which * stands for any text.
func matches(pattern, text string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return text == pattern
	}
	text, found := strings.CutPrefix(text, head)
	if !found {
		return false
	}
	for i := range len(text) + 1 {
		if matches(rest, text[i:]) {
			return true
		}
	}
	return false
}

// RoleFor is the role that an operation about a stack takes; empty if none is known.
func RoleFor(operation string) string {
	for role, operations := range roles {
		if slices.Contains(operations, operation) {
			return role
		}
	}
	return ""
}

var roles = map[string][]string{
	"viewer":   {"getRun", "explainRun", "listTimeline", "previewFollowers"},
	"approver": {"decideRun"},
	"operator": {"retryRun", "stopRun", "declareFreeze", "triggerRun"},
}
