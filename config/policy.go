package config

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // windows name time zones, and images have no database of them

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify/channels"
	"github.com/gantryhq/gantry/spacelift"
)

// Names is a list of names, in one string with commas between.
type Names []string

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Names) UnmarshalText(text []byte) error {
	*n = nil
	for name := range strings.SplitSeq(string(text), ",") {
		if name = strings.TrimSpace(name); name != "" {
			*n = append(*n, name)
		}
	}
	return nil
}

// Labels holds the settings of labels that aren't Gantry's own.
type Labels struct {
	DependsOn bool `setting:"dependsOn" doc:"Whether labels such as depends-on:network-prod count as gantry:after=network-prod."`
}

// Logs holds the settings of reading runs' logs.
type Logs struct {
	Read bool `setting:"read" doc:"Whether Gantry may read the end of a failed phase's log for its cause, unless a profile says otherwise."`
}

// Person holds the settings of a person with several names.
type Person struct {
	Name    string   `setting:"name" doc:"Name of the person in decisions."`
	Aliases []string `setting:"aliases" doc:"Other names of the same person: of tokens, logins at Spacelift and in version control. Neither case matters, nor how Unicode composes letters."`
	Groups  []string `setting:"groups" doc:"Groups that the person belongs to, besides those of their tokens and of their identity provider."`
}

// Channel holds the settings of a channel of notifications.
type Channel struct {
	Name         string `setting:"name" doc:"Name of the channel in labels, profiles and guardian.notify, with or without a # before it."`
	Kind         string `setting:"kind" oneof:"slack webhook" doc:"slack (an incoming webhook) or webhook (JSON, signed by the Standard Webhooks specification)."`
	URL          string `setting:"url" secret:"true" doc:"Address to post to; prefer a file, because Slack's is a secret."`
	URLFile      string `setting:"urlFile" doc:"File with the address; Gantry reads it again when it changes."`
	Secret       string `setting:"secret" secret:"true" doc:"Secret that signs a webhook: 24 to 64 bytes in base64, with or without whsec_ before it; prefer a file."`
	SecretFile   string `setting:"secretFile" doc:"File with the secret; Gantry reads it again when it changes."`
	AllowPrivate bool   `setting:"allowPrivate" doc:"Whether the channel may be in Gantry's own network or on its machine, or use plain http."`
}

// Window holds the settings of a window in which Gantry may confirm.
type Window struct {
	Name     string       `setting:"name" doc:"Name of the window in labels and profiles."`
	TimeZone string       `setting:"timeZone" doc:"Time zone of the window's times, such as Europe/Berlin or UTC."`
	Allow    []Recurrence `setting:"allow" doc:"When the window is open. Without any, it is always open."`
	Deny     []Recurrence `setting:"deny" doc:"When the window is closed, even if allow opens it."`
}

// Recurrence holds the settings of a period, once or recurring.
type Recurrence struct {
	Start    string          `setting:"start" doc:"Local time of the first occurrence, from which the rule counts, such as 2026-01-05T09:00."`
	Duration policy.Duration `setting:"duration" doc:"Length of each occurrence by the clock, such as 8h or 2d: 1m to 366d."`
	RRule    string          `setting:"rrule" doc:"Recurrence rule of RFC 5545, such as FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR. Without one, there is one occurrence."`
	ExDates  []string        `setting:"exDates" doc:"Occurrences to leave out: local starts, or days such as 2026-12-24."`
}

// Profile holds the settings of a profile, a set of policy values.
type Profile struct {
	Name            string                `setting:"name" doc:"Name of the profile in gantry:profile."`
	Confirm         *policy.ConfirmMode   `setting:"confirm" doc:"Confirmation of a plan with changes: manual (by people), auto (by Gantry) or no-deletes (by Gantry unless it deletes something)."`
	Limits          Limits                `setting:"limits"`
	Types           []spacelift.RunType   `setting:"types" doc:"Types of run that Gantry confirms alone; people decide about others. TRACKED by default."`
	Drift           *bool                 `setting:"drift" doc:"Whether Gantry confirms repairs of drift alone. true by default."`
	ConfirmWhen     *string               `setting:"confirmWhen" doc:"CEL expression that must be true of a plan for Gantry to confirm it alone. Without confirm, it implies confirm: auto."`
	HoldWhen        *string               `setting:"holdWhen" doc:"CEL expression; Gantry doesn't confirm a plan while it is true."`
	ApprovalsWhen   []ApprovalWhen        `setting:"approvalsWhen" doc:"Approvals that some plans need beside the stack's own. All that apply add up."`
	Approvals       *int                  `setting:"approvals" doc:"Number of different people who must approve a run that people decide about: 1 to 20."`
	Approvers       *string               `setting:"approvers" doc:"Group of the approvers. By default, anyone whose token may approve."`
	SelfApproval    *bool                 `setting:"selfApproval" doc:"Whether the person who triggered a run or wrote its commit may approve it."`
	ApprovalTimeout *policy.Duration      `setting:"approvalTimeout" doc:"Time that people have to decide: 1m to 30d, 0 for no limit."`
	OnTimeout       *policy.TimeoutAction `setting:"onTimeout" doc:"Action after that time: discard, or keep, which notifies people once."`
	Reminders       *policy.Duration      `setting:"reminders" doc:"Time between reminders: 1m to 30d, 0 for none. A plan has at most 50."`
	Escalation      []Step                `setting:"escalation" doc:"Steps that Gantry takes, one after the other, while nobody decides."`
	Clock           *string               `setting:"clock" doc:"Window in which time counts for approvalTimeout, reminders and escalation. By default, all time counts."`
	Windows         []string              `setting:"windows" doc:"Windows; Gantry confirms only while all are open."`
	Notify          []string              `setting:"notify" doc:"Channels that receive notifications."`
	Retries         *int                  `setting:"retries" doc:"Most retries of a failed run: 0 to 10."`
	RetryCauses     []policy.Cause        `setting:"retryCauses" doc:"Causes of failure that Gantry retries: transient, capacity. Both by default."`
	RetryBackoff    *policy.Duration      `setting:"retryBackoff" doc:"Wait before the first retry, doubled before each later one: 1s to 24h. 1m by default."`
	RetryAfterApply *bool                 `setting:"retryAfterApply" doc:"Whether Gantry may retry a run that had begun to apply."`
	ReadLogs        *bool                 `setting:"readLogs" doc:"Whether Gantry may read the end of a failed phase's log for its cause. logs.read is the default."`
	OldPlans        *policy.OldPlans      `setting:"oldPlans" doc:"Action on a plan that is older than the last apply of a stack upstream: replace (discard it and trigger a run of the same commit) or keep. replace by default."`
	Deadlines       Deadlines             `setting:"deadlines"`
}

// Rule holds the settings of a rule over stacks.
type Rule struct {
	Name    string `setting:"name" doc:"Name of the rule, for explanations."`
	Match   Match  `setting:"match"`
	Profile string `setting:"profile" doc:"Profile whose values the stacks get. Labels override them, unless the rule is locked."`
	Locked  bool   `setting:"locked" doc:"Whether later rules can only tighten these values, and labels can only tighten the stack's policy."`
}

// Match holds the settings that select stacks. A stack must fit each that is given.
type Match struct {
	Accounts       []string `setting:"accounts" doc:"Accounts, one of which has the stack. Without match, a rule applies to every stack."`
	Spaces         []string `setting:"spaces" doc:"Ids of spaces. The stack is in one of them, or in a space below."`
	Stacks         []string `setting:"stacks" doc:"Ids of stacks; * stands for any characters."`
	Labels         []string `setting:"labels" doc:"Labels that the stack has, all of them; * stands for any characters."`
	Branches       []string `setting:"branches" doc:"Branches, one of which the stack tracks; * stands for any characters."`
	Administrative *bool    `setting:"administrative" doc:"Whether the stack is administrative. Both by default."`
}

// ApprovalWhen holds the settings of approvals that some plans need.
type ApprovalWhen struct {
	When   string `setting:"when" doc:"CEL expression that is true of the plans that need the approvals."`
	Needed int    `setting:"needed" doc:"Number of different people who must approve: 1 to 20."`
	Group  string `setting:"group" doc:"Group of these approvers. By default, anyone whose token may approve."`
	Reason string `setting:"reason" doc:"Reason, for people; Gantry adds the resources that make the expression true."`
}

// Limits holds the limits of plans that Gantry confirms alone.
type Limits struct {
	MaxAdded   *int `setting:"maxAdded" doc:"Most resources that a plan may add for Gantry to confirm it alone."`
	MaxChanged *int `setting:"maxChanged" doc:"Most resources that such a plan may change."`
	MaxDeleted *int `setting:"maxDeleted" doc:"Most resources that such a plan may delete."`
}

// Step holds the settings of one step of an escalation.
type Step struct {
	After   policy.Duration `setting:"after" doc:"Time since Gantry asked people: 1m to 30d, each later than the one before."`
	Notify  []string        `setting:"notify" doc:"Channels to notify."`
	Discard bool            `setting:"discard" doc:"Whether to discard the plan; only the last step may."`
}

// Deadlines holds the times after which Gantry checks a run that stays in its
// phase.
type Deadlines struct {
	Queued   *policy.Duration `setting:"queued" doc:"Time that a run may be in the queue before Gantry checks it: 1m to 7d, 0 for no limit. 30m by default."`
	Starting *policy.Duration `setting:"starting" doc:"Time that a run may take to start. 20m by default."`
	Planning *policy.Duration `setting:"planning" doc:"Time that a run may plan. 1h by default."`
	Applying *policy.Duration `setting:"applying" doc:"Time that a run may apply. 2h by default."`
}

// Definitions compiles profiles and windows. Each problem in its error begins with
// the setting.
func (c Config) Definitions() (*policy.Definitions, error) {
	all := policy.Config{DependsOnLabels: c.Labels.DependsOn, ReadLogs: c.Logs.Read, Fallback: c.Guardian.Notify, Approvers: c.Approvers()}
	for _, channel := range c.Channels {
		all.Channels = append(all.Channels, channel.Name)
	}
	for _, w := range c.Windows {
		all.Windows = append(all.Windows, policy.Window{Name: w.Name, TimeZone: w.TimeZone, Allow: recurrences(w.Allow), Deny: recurrences(w.Deny)})
	}
	for _, p := range c.Profiles {
		profile := policy.Profile{
			Name: p.Name, Confirm: p.Confirm, MaxAdded: p.Limits.MaxAdded, MaxChanged: p.Limits.MaxChanged, MaxDeleted: p.Limits.MaxDeleted,
			Types: p.Types, Drift: p.Drift, Approvals: p.Approvals, Approvers: p.Approvers, SelfApproval: p.SelfApproval,
			ApprovalTimeout: p.ApprovalTimeout, OnTimeout: p.OnTimeout, Reminders: p.Reminders, Clock: p.Clock, Windows: p.Windows, Notify: p.Notify,
			Retries: p.Retries, RetryCauses: p.RetryCauses, RetryBackoff: p.RetryBackoff, RetryAfterApply: p.RetryAfterApply, ReadLogs: p.ReadLogs,
			OldPlans: p.OldPlans, ConfirmWhen: p.ConfirmWhen, HoldWhen: p.HoldWhen,
			Deadlines: policy.ProfileDeadlines(p.Deadlines),
		}
		for _, w := range p.ApprovalsWhen {
			profile.ApprovalsWhen = append(profile.ApprovalsWhen, policy.Requirement(w))
		}
		for _, s := range p.Escalation {
			profile.Escalation = append(profile.Escalation, policy.Step(s))
		}
		all.Profiles = append(all.Profiles, profile)
	}
	all.DefaultProfile = c.DefaultProfile
	for _, r := range c.Rules {
		all.Rules = append(all.Rules, policy.StackRule{Name: r.Name, Match: policy.Match(r.Match), Profile: r.Profile, Locked: r.Locked})
	}
	return policy.Compile(all)
}

func recurrences(configured []Recurrence) []policy.Recurrence {
	all := make([]policy.Recurrence, len(configured))
	for i, r := range configured {
		all[i] = policy.Recurrence(r)
	}
	return all
}

// ruleProblems reports accounts in rules that are not configured. Definitions reports all
// else about rules.
func (c Config) ruleProblems() (problems []error) {
	names := make([]string, len(c.Accounts))
	for i, a := range c.Accounts {
		names[i] = a.Name
	}
	for i, r := range c.Rules {
		for j, name := range r.Match.Accounts {
			if !slices.Contains(names, name) && len(names) > 0 { // they may be set elsewhere
				problems = append(problems, &policy.Mistake{
					Setting: fmt.Sprintf("rules[%d].match.accounts[%d]", i, j), Problem: fmt.Sprintf("there is no account %q%s; name one of accounts", name, meant(name, names)),
				})
			}
		}
	}
	return problems
}

// channelProblems reports what is wrong with channels. Definitions reports invalid names.
func (c Config) channelProblems() (problems []error) {
	for i, channel := range c.Channels {
		before := len(problems)
		bad := func(format string, args ...any) {
			problems = append(problems, policy.At(fmt.Sprintf("channels[%d]", i), fmt.Errorf(format, args...)))
		}
		if channel.Kind != "slack" && channel.Kind != "webhook" {
			bad("kind: %q is neither slack nor webhook", channel.Kind)
		}
		if (channel.URL == "") == (channel.URLFile == "") {
			bad("give one of url and urlFile")
		}
		signed := (channel.Secret == "") != (channel.SecretFile == "")
		switch {
		case channel.Kind == "webhook" && !signed:
			bad("give one of secret and secretFile to sign the webhook")
		case channel.Kind == "slack" && (channel.Secret != "" || channel.SecretFile != ""):
			bad("secret: Slack has no signatures; remove it")
		}
		if err := channel.check(); err != nil && len(problems) == before && channel.Name != "" {
			bad("%w", err)
		}
	}
	for _, name := range c.Guardian.Notify {
		if !slices.ContainsFunc(c.Channels, func(channel Channel) bool { return channel.Name == name }) {
			problems = append(problems, fmt.Errorf("guardian.notify: there is no channel %q; configure it under channels", name))
		}
	}
	if to := c.Audit.Channel; to != "" && !slices.ContainsFunc(c.Channels, func(channel Channel) bool { return channel.Name == to && channel.Kind == "webhook" }) {
		problems = append(problems, fmt.Errorf("audit.channel: there is no channel %q of kind webhook; configure it under channels", to))
	}
	return problems
}

// Warnings returns problems that don't keep Gantry from starting: profiles whose
// approvers have no token.
func (c Config) Warnings() (warnings []string) {
	rules, err := c.Definitions()
	if err != nil {
		return nil // Validate reports it
	}
	known := policy.Known{Approvers: c.Approvers()}
	for i, p := range c.Profiles {
		for _, bad := range rules.Profile(p.Name).References(known) {
			warnings = append(warnings, fmt.Sprintf("profiles[%d].approvers: %s; %s", i, bad.Problem, bad.Remedy))
		}
	}
	return warnings
}

// check reports problems that would make the sender refuse the channel at the
// start, except those of secret files.
func (c Channel) check() error {
	sample := channels.Channel{Name: c.Name, Kind: channels.Kind(c.Kind), AllowPrivate: c.AllowPrivate, URL: func() string { return c.URL }, Secret: func() string { return c.Secret }}
	if c.URLFile != "" {
		sample.URL = func() string { return "https://gantry.example.com/channel" }
	}
	if c.SecretFile != "" {
		sample.Secret = func() string { return base64.StdEncoding.EncodeToString(make([]byte, 32)) }
	}
	return sample.Validate()
}

// Authority returns the rules that say who may do what where.
func (c Config) Authority() (*authority.Rules, error) {
	return authority.NewRules(c.Tokens, c.Persons(), c.Bindings)
}

// Approvers returns the people whose tokens may approve; nil if that is not known, as
// where an issuer names people.
func (c Config) Approvers() []decide.Person {
	rules, err := c.Authority()
	if err != nil || len(c.Issuers) > 0 {
		return nil // Validate reports an error
	}
	return rules.Approvers(time.Now())
}

// Persons returns the people with several names, as the server takes them.
func (c Config) Persons() []decide.Person {
	people := make([]decide.Person, len(c.People))
	for i, p := range c.People {
		people[i] = decide.Person{Name: p.Name, Aliases: p.Aliases, Groups: p.Groups}
	}
	return people
}
