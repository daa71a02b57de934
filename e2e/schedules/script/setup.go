package script

import (
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// Channels of notifications; the first one receives findings too.
var channels = []string{"on-call", "deploys", "slack"}

// People are the people of all batches.
var People = []history.Person{
	{Name: "ann", Role: "approver", Groups: []string{"platform"}},
	{Name: "bob", Role: "approver", Groups: []string{"platform", "security"}},
	{Name: "cara", Role: "approver", Groups: []string{"security"}},
	{Name: "dan", Role: "operator", Groups: []string{"platform"}},
	{Name: "eve", Role: "admin", Groups: []string{"platform", "security"}},
	{Name: "fay", Role: "viewer"},
	{Name: "jane", Role: "approver", Groups: []string{"platform", "security"}, Aliases: []string{"jdoe"}},
	{Name: "jane-2", Role: "approver", Groups: []string{"platform", "security"}, Person: "jane"},
	{Name: "gil", Groups: []string{"platform", "security"}, Scopes: []history.Scope{
		{Role: "approver", Stacks: []string{"s*-a"}}, {Role: "viewer", Spaces: []string{production}},
	}},
	{Name: "hal", Groups: []string{"platform"}, Scopes: []history.Scope{
		{Role: "operator", Stacks: []string{"s*0-*", "s*1-*", "s*2-*", "s*3-*", "s*4-*"}}, {Role: "approver", Spaces: []string{production}, Stacks: []string{"s*-b"}},
	}},
	{Name: "iris", Groups: []string{"platform", "security"}, Signs: history.Issuer, Scopes: []history.Scope{{Role: "approver"}}},
	{Name: "ivo", Groups: []string{"security"}, Signs: history.Issuer, Scopes: []history.Scope{{Role: "operator", Stacks: []string{"s*-a"}}}},
	{Name: "mal", Groups: []string{"platform", "security"}, Signs: history.Stranger, Scopes: []history.Scope{{Role: "admin"}}},
	{Name: "lea", Groups: []string{"platform"}, Scopes: []history.Scope{{Role: "operator", Labels: []string{"team:blue"}}}},
	{Name: Revocable, Role: "approver", Groups: []string{"platform", "security"}},
	{Name: "otto", Role: "operator", Groups: []string{"security"}},
}

// Readers are the people who follow the event stream: of everything, and of some stacks.
var Readers = []string{"fay", "gil", "ivo"}

// Revocable is the person whose token is revoked by one of the configurations.
const Revocable = "rex"

// Spaces are the spaces of all batches beside the root, each after the one that it is
// in. Gantry's policies are attached to the managed stacks of those that are Enforced,
// and a locked rule is over those of production.
var (
	Spaces   = []string{enforced, production, production + "/" + enforced}
	Enforced = []string{enforced, production + "/" + enforced}
)

const (
	enforced   = "enforced"
	production = "production"
)

// HasGlass reports whether a space is one of a schedule's own, with Gantry's policies, in
// which somebody may break the glass.
func HasGlass(space string) bool { return strings.HasSuffix(space, "-"+glass) }

const glass = "glass"

var profileNames = []string{"production", "careful", "quick", "timed", "no-drift", "old-plans", "databases", "databases", "guarded"}

// Setup returns the configuration of a batch that begins at a time. changed
// is the one that replaces it in the middle of the storm.
func Setup(at time.Time, storm time.Duration, changed bool) history.Setup {
	two, five, three, zero := 2, 5, 3, 0
	yes, no := true, false
	s := history.Setup{
		DependsOn: true, Channels: channels, People: People,
		Profiles: []history.Profile{
			{
				Name: "production", Confirm: "no-deletes", Limits: &history.Limits{MaxAdded: &five, MaxDeleted: &zero}, Approvals: 2, Approvers: "platform",
				Notify: []string{"deploys"}, Retries: &two, RetryBackoff: "1s",
			},
			{Name: "careful", Confirm: "manual", Approvals: 2, SelfApproval: &yes, ApprovalTimeout: "1m", OnTimeout: "keep", Notify: []string{"slack"}},
			{Name: "quick", Confirm: "auto", Retries: &three, RetryBackoff: "1s", RetryAfterApply: &yes},
			{Name: "timed", Confirm: "manual", ApprovalTimeout: "1m", OnTimeout: "discard", Notify: []string{"on-call"}},
			{Name: "no-drift", Confirm: "auto", Drift: &no, Types: []string{"TRACKED"}},
			{Name: "old-plans", Confirm: "auto", OldPlans: "keep", Retries: &two, RetryCauses: []string{"transient"}, RetryBackoff: "2s"},
			{Name: "floor", Confirm: "no-deletes", Limits: &history.Limits{MaxAdded: &three}, Approvals: 2, Approvers: "platform"},
			{
				Name: "databases", Confirm: "no-deletes", Approvals: 1, Approvers: "platform",
				ApprovalsWhen: []history.ApprovalWhen{history.WhenDestroyed("aws_db_instance", 1, "security"), history.WhenDestroyed("aws_kms_key", 1, "")},
			},
			{Name: "guarded", ConfirmBelow: 4, HoldsDestroying: "aws_kms_key", Approvals: 1},
		},
		Floors:  []history.Floor{{Name: "production-floor", Spaces: []string{production}, Profile: "floor"}},
		Windows: windows(at, storm),
	}
	if changed {
		s.Profiles[0].Approvals, s.Profiles[0].Approvers = 1, "security"
		s.Profiles[1].Approvals, s.Profiles[1].SelfApproval = 1, &no
		s.Profiles[2].Limits = &history.Limits{MaxAdded: &two}
		s.People = slices.Clone(People)
		for i := range s.People {
			s.People[i].Revoked = s.People[i].Name == Revocable
		}
		s.Profiles[6].Limits.MaxAdded, s.Profiles[6].Approvals = &two, 1
	}
	return s
}

// windows returns one window that is always open, one that never is, and one that
// opens at the first full minute after the storm.
func windows(at time.Time, storm time.Duration) []history.Window {
	day := 24 * time.Hour
	today := at.UTC().Truncate(time.Minute)
	opens := at.Add(storm).UTC().Truncate(time.Minute).Add(time.Minute)
	return []history.Window{
		{Name: "always", Allow: []history.Period{{Start: today.Add(-day), End: today.Add(2 * day)}}},
		{Name: "never", Allow: []history.Period{{Start: today.Add(-2 * day), End: today.Add(-day)}}},
		{Name: "soon", Deny: []history.Period{{Start: today.Add(-day), End: opens}}},
	}
}
