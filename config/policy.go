package config

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	_ "time/tzdata" // windows name time zones, and images hold no database of them

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify/channels"
	"github.com/gantryhq/gantry/server"
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

// Labels says which labels of others count.
type Labels struct {
	DependsOn bool `setting:"dependsOn" doc:"Whether labels such as depends-on:network-prod count as gantry:after=network-prod."`
}

// Logs says what may be read of runs' logs.
type Logs struct {
	Read bool `setting:"read" doc:"Whether the end of a failed phase's log may be read for its cause, where a profile does not say."`
}

// Person is somebody with several names.
type Person struct {
	Name    string   `setting:"name" doc:"Who it is: the name that decisions carry."`
	Aliases []string `setting:"aliases" doc:"Other names of the same person: of tokens, logins at Spacelift and in version control. Case does not matter."`
}

// Channel is where people or programs are told.
type Channel struct {
	Name         string `setting:"name" doc:"What labels, profiles and guardian.notify call it, with or without a # before it."`
	Kind         string `setting:"kind" doc:"slack (an incoming webhook) or webhook (JSON, signed by the Standard Webhooks specification)."`
	URL          string `setting:"url" secret:"true" doc:"Address to post to; better in a file, as Slack's is a secret."`
	URLFile      string `setting:"urlFile" doc:"File that holds the address; read again when it changes."`
	Secret       string `setting:"secret" secret:"true" doc:"Secret that a webhook is signed with: base64 of 24 to 64 bytes, with whsec_ before it or not; better in a file."`
	SecretFile   string `setting:"secretFile" doc:"File that holds the secret; read again when it changes."`
	AllowPrivate bool   `setting:"allowPrivate" doc:"Whether it may be in the own network or on this machine, or speak plain http."`
}

// Window is when Gantry may confirm.
type Window struct {
	Name     string       `setting:"name" doc:"What labels and profiles call it."`
	TimeZone string       `setting:"timeZone" doc:"Time zone of all its times, such as Europe/Berlin or UTC."`
	Allow    []Recurrence `setting:"allow" doc:"When it is open; always, if there is none."`
	Deny     []Recurrence `setting:"deny" doc:"When it is closed in spite of allow."`
}

// Recurrence is a stretch of time, once or by a rule.
type Recurrence struct {
	Start    string          `setting:"start" doc:"Local time of the first occurrence, or from which the rule counts, such as 2026-01-05T09:00."`
	Duration policy.Duration `setting:"duration" doc:"How long each occurrence lasts by the clock, such as 8h or 2d: 1m to 366d."`
	RRule    string          `setting:"rrule" doc:"Recurrence rule of RFC 5545, such as FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR. Nothing: once."`
	ExDates  []string        `setting:"exDates" doc:"Occurrences left out: local starts, or days such as 2026-12-24."`
}

// Profile is a set of policy values.
type Profile struct {
	Name            string                `setting:"name" doc:"What gantry:profile calls it."`
	Confirm         *policy.ConfirmMode   `setting:"confirm" doc:"Who confirms a plan with changes: manual (people), auto (Gantry) or no-deletes (Gantry as long as nothing is deleted)."`
	Limits          Limits                `setting:"limits"`
	Types           []spacelift.RunType   `setting:"types" doc:"Types of run that Gantry confirms alone; others come to people. TRACKED, if nothing is said."`
	Drift           *bool                 `setting:"drift" doc:"Whether Gantry confirms repairs of drift alone; true, if nothing is said."`
	Approvals       *int                  `setting:"approvals" doc:"How many different people must approve where people are asked: 1 to 20."`
	Approvers       *string               `setting:"approvers" doc:"Group they must belong to; anyone whose token may approve, if nothing is said."`
	SelfApproval    *bool                 `setting:"selfApproval" doc:"Whether who triggered a run or wrote its commit may approve it."`
	ApprovalTimeout *policy.Duration      `setting:"approvalTimeout" doc:"How long people may take: 1m to 30d, 0 for as long as they like."`
	OnTimeout       *policy.TimeoutAction `setting:"onTimeout" doc:"What happens then: discard, or keep, which tells people once."`
	Reminders       *policy.Duration      `setting:"reminders" doc:"Time between reminders: 1m to 30d, 0 for none. There are at most 50 for a plan."`
	Escalation      []Step                `setting:"escalation" doc:"What happens, step by step, while nobody decides."`
	Clock           *string               `setting:"clock" doc:"Window within which alone time passes for approvalTimeout, reminders and escalation; always, if nothing is said."`
	Windows         []string              `setting:"windows" doc:"Windows that must all be open for Gantry to confirm."`
	Notify          []string              `setting:"notify" doc:"Channels people are told through."`
	Retries         *int                  `setting:"retries" doc:"How often a failed run is tried again at most: 0 to 10."`
	RetryCauses     []policy.Cause        `setting:"retryCauses" doc:"Causes for which it is: transient, capacity. Both, if nothing is said."`
	RetryBackoff    *policy.Duration      `setting:"retryBackoff" doc:"Wait before the first retry, doubled before each other: 1s to 24h. 1m, if nothing is said."`
	RetryAfterApply *bool                 `setting:"retryAfterApply" doc:"Whether a run may be tried again although it had begun to apply."`
	ReadLogs        *bool                 `setting:"readLogs" doc:"Whether the end of a failed phase's log may be read for its cause; as logs.read says, if nothing is said."`
	OldPlans        *policy.OldPlans      `setting:"oldPlans" doc:"What becomes of a plan that is older than what a stack that goes first applied: replace (discard it and trigger a run of the same commit) or keep. replace, if nothing is said."`
	Deadlines       Deadlines             `setting:"deadlines"`
}

// Limits bound the plans that Gantry confirms alone.
type Limits struct {
	MaxAdded   *int `setting:"maxAdded" doc:"Most resources that a plan may add for Gantry to confirm it alone."`
	MaxChanged *int `setting:"maxChanged" doc:"Most resources that it may change."`
	MaxDeleted *int `setting:"maxDeleted" doc:"Most resources that it may delete."`
}

// Step is one rung of an escalation.
type Step struct {
	After   policy.Duration `setting:"after" doc:"When, counted from when people were asked: 1m to 30d, each later than the one before."`
	Notify  []string        `setting:"notify" doc:"Channels to tell."`
	Discard bool            `setting:"discard" doc:"Whether to discard the plan, as the last step."`
}

// Deadlines say when Gantry looks at a run that stays where it is.
type Deadlines struct {
	Queued   *policy.Duration `setting:"queued" doc:"How long a run may be in the queue before Gantry looks: 1m to 7d, 0 for ever. 30m, if nothing is said."`
	Starting *policy.Duration `setting:"starting" doc:"How long it may take to start. 20m, if nothing is said."`
	Planning *policy.Duration `setting:"planning" doc:"How long it may plan. 1h, if nothing is said."`
	Applying *policy.Duration `setting:"applying" doc:"How long it may apply. 2h, if nothing is said."`
}

// Definitions compiles profiles, windows and what they refer to. Each of its problems
// begins with the setting it is about.
func (c Config) Definitions() (*policy.Definitions, error) {
	all := policy.Config{DependsOnLabels: c.Labels.DependsOn, ReadLogs: c.Logs.Read, Approvers: c.Approvers()}
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
			OldPlans:  p.OldPlans,
			Deadlines: policy.ProfileDeadlines(p.Deadlines),
		}
		for _, s := range p.Escalation {
			profile.Escalation = append(profile.Escalation, policy.Step(s))
		}
		all.Profiles = append(all.Profiles, profile)
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

// channelProblems leaves names to Rules.
func (c Config) channelProblems() (problems []error) {
	for i, channel := range c.Channels {
		before := len(problems)
		bad := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("channels[%d] %s: %w", i, channel.Name, fmt.Errorf(format, args...)))
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
			bad("give one of secret and secretFile: a webhook is signed")
		case channel.Kind == "slack" && (channel.Secret != "" || channel.SecretFile != ""):
			bad("secret: Slack's webhooks are not signed; remove it")
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
	return problems
}

// Warnings are what Gantry starts with although nothing can come of it: profiles
// whose approvers nobody with a token is.
func (c Config) Warnings() (warnings []string) {
	rules, err := c.Definitions()
	if err != nil {
		return nil // Validate says so
	}
	known := policy.Known{Approvers: c.Approvers()}
	for i, p := range c.Profiles {
		for _, bad := range rules.Resolve([]string{spacelift.LabelManaged, spacelift.LabelPrefix + "profile=" + p.Name}).References(known) {
			warnings = append(warnings, fmt.Sprintf("profiles[%d] %s: approvers: %s; %s", i, p.Name, bad.Problem, bad.Remedy))
		}
	}
	return warnings
}

// check reports what the sender would refuse at the start of what the
// configuration itself holds. What is in files is checked where they are.
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

// Approvers returns the people whose tokens may approve.
func (c Config) Approvers() []decide.Person { return server.Approvers(c.Tokens, c.Persons()) }

// Persons returns the people with several names, as the server takes them.
func (c Config) Persons() []decide.Person {
	people := make([]decide.Person, len(c.People))
	for i, p := range c.People {
		people[i] = decide.Person{Name: p.Name, Aliases: p.Aliases}
	}
	return people
}
