package model

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

const prefix = "gantry:"

// Policy is the result of a stack's labels and the configuration. A
// label overrides the profile, and the profile overrides the defaults.
type Policy struct {
	Managed bool
	// Invalid says why labels can't be followed: then Gantry holds the stack's plans.
	Invalid []string
	// Unclear says why the documents don't decide what the labels mean. Nothing that
	// depends on the policy is judged then.
	Unclear []string

	Confirm         string // manual, auto, no-deletes, or empty: people decide in Spacelift
	Limits          history.Limits
	Types           []string
	Drift           bool // repairs of drift may be confirmed alone
	Approvals       int  // 0 if not set; then one is enough
	Approvers       string
	ApprovalsWhen   []history.ApprovalWhen
	Below           int      // Gantry confirms plans with fewer changes alone; 0 if not set
	Holds           []string // types of resources whose destruction holds a plan
	SelfApproval    bool
	Timeout         time.Duration
	Discards        bool // whether a time limit discards the plan
	Windows         []string
	Retries         int
	RetryCauses     []string
	RetryBackoff    time.Duration
	RetryAfterApply bool
	After           []string
	KeepOldPlans    bool
	Notify          []string
}

// labelsOnce are those that may not be repeated.
var labelsOnce = []string{"managed", "profile", "confirm", "approvals", "approvers", "approval-timeout", "window", "retries"}

// slug is the form of stack ids about which nobody can be in doubt.
var slug = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// Resolve returns the policy of a stack of a space with these labels
// (docs/reference/labels.md).
func (c Config) Resolve(stack, space string, labels []string) Policy {
	r := resolution{config: c, stack: stack, values: map[string][]string{}}
	r.policy.Managed = slices.Contains(labels, "gantry:managed")
	for _, label := range labels {
		r.read(label)
	}
	r.contradictions()
	profile := r.fromProfile()
	for _, key := range labelsOnce {
		if v := r.values[key]; len(v) > 0 {
			r.set(key, v[0])
		}
	}
	if floors := c.floors(space); len(floors) > 0 {
		r.lock(floors, profile)
	} else {
		r.nobodyAsked()
	}
	return r.policy
}

type resolution struct {
	config Config
	stack  string
	values map[string][]string // the labels that are read, by key
	policy Policy
}

func (r *resolution) invalid(format string, args ...any) {
	r.policy.Invalid = append(r.policy.Invalid, fmt.Sprintf(format, args...))
}

func (r *resolution) unclear(format string, args ...any) {
	r.policy.Unclear = append(r.policy.Unclear, fmt.Sprintf(format, args...))
}

// read sorts one label.
func (r *resolution) read(label string) {
	if list, found := strings.CutPrefix(label, "depends-on:"); found && r.config.DependsOn {
		for stack := range strings.SplitSeq(list, ",") {
			r.follow(strings.TrimSpace(stack), label)
		}
		return
	}
	body, found := strings.CutPrefix(label, prefix)
	if !found {
		if squeezed := strings.ToLower(strings.ReplaceAll(label, " ", "")); strings.HasPrefix(squeezed, prefix) {
			if strings.HasPrefix(strings.ToLower(label), prefix) {
				r.invalid("%s: the letters are in the wrong case", label)
			} else {
				r.unclear("%s: spaces around the prefix", label)
			}
		}
		return
	}
	key, value, hasValue := strings.Cut(body, "=")
	switch {
	case key == "managed" && hasValue, key != "managed" && !hasValue, hasValue && value == "":
		r.invalid("%s: it has a value too many or too few", label)
	case strings.TrimRight(key, " ") != key || strings.TrimLeft(value, " ") != value:
		r.invalid("%s: there are spaces around the =", label)
	case strings.TrimSpace(label) != label || strings.TrimSpace(key) != key:
		r.unclear("%s: are other spaces part of it?", label)
	case key == "after":
		r.follow(value, label)
	case key == "notify":
		r.notify(value, label)
	case slices.Contains(labelsOnce, key):
		r.values[key] = append(r.values[key], value)
	default:
		r.invalid("%s: there is no such label", label)
	}
}

func (r *resolution) follow(stack, label string) {
	switch {
	case stack == r.stack && stack != "":
		r.invalid("%s: the stack follows itself", label)
	case !slug.MatchString(stack):
		r.unclear("%s: is that an id of a stack?", label)
	default:
		r.policy.After = append(r.policy.After, stack)
	}
}

func (r *resolution) notify(channel, label string) {
	if !r.config.hasChannel(channel) {
		r.invalid("%s: there is no such channel", label)
		return
	}
	r.policy.Notify = append(r.policy.Notify, bare(channel))
}

// contradictions finds labels that occur twice with different values.
func (r *resolution) contradictions() {
	for _, key := range labelsOnce {
		values := slices.Clone(r.values[key])
		slices.Sort(values)
		if values = slices.Compact(values); len(values) > 1 {
			r.invalid("gantry:%s is there twice: %s", key, strings.Join(values, ", "))
		}
	}
}

// fromProfile takes over the values of the profile that a label names and the
// defaults, and returns them.
func (r *resolution) fromProfile() Policy {
	var from history.Profile
	if names := r.values["profile"]; len(names) > 0 {
		var found bool
		if from, found = r.config.profile(names[0]); !found {
			r.invalid("gantry:profile=%s: there is no such profile", names[0])
		}
	}
	p, values := &r.policy, r.of(from)
	values.Managed, values.Invalid, values.Unclear, values.After, values.Notify = p.Managed, p.Invalid, p.Unclear, p.After, append(p.Notify, values.Notify...)
	*p = values
	return values
}

// of returns the values of a profile and the defaults.
func (r *resolution) of(from history.Profile) Policy {
	p := Policy{
		Confirm: from.Confirm, Approvals: from.Approvals, Approvers: from.Approvers, ApprovalsWhen: from.ApprovalsWhen, SelfApproval: from.SelfApproval != nil && *from.SelfApproval,
		Types: from.Types, Drift: from.Drift == nil || *from.Drift, Timeout: r.configured(from.ApprovalTimeout, 0), Discards: from.OnTimeout != "keep",
		Windows: slices.Clone(from.Windows), RetryCauses: from.RetryCauses, RetryAfterApply: from.RetryAfterApply != nil && *from.RetryAfterApply,
		RetryBackoff: r.configured(from.RetryBackoff, time.Minute), KeepOldPlans: from.OldPlans == "keep",
	}
	if from.Limits != nil {
		p.Limits = *from.Limits
	}
	if p.Below = int(from.ConfirmBelow); p.Below > 0 && p.Confirm == "" {
		p.Confirm = "auto"
	}
	if from.HoldsDestroying != "" {
		p.Holds = []string{string(from.HoldsDestroying)}
	}
	if len(p.Types) == 0 {
		p.Types = []string{"TRACKED"}
	}
	for _, name := range from.Notify {
		p.Notify = append(p.Notify, bare(name))
	}
	if from.Retries != nil {
		p.Retries = *from.Retries
	}
	if len(p.RetryCauses) == 0 {
		p.RetryCauses = []string{"transient", "capacity"}
	}
	return p
}

// configured reads a duration of a profile.
func (r *resolution) configured(text string, unset time.Duration) time.Duration {
	switch text {
	case "":
		return unset
	case "0", "0s":
		return 0
	}
	d, err := ParseDuration(text)
	if err != nil {
		r.unclear("a profile says %s", text)
	}
	return d
}

// set lets a label override the profile.
func (r *resolution) set(key, value string) {
	p := &r.policy
	switch key {
	case "confirm":
		if !slices.Contains([]string{"manual", "auto", "no-deletes"}, value) {
			r.invalid("gantry:confirm=%s: write manual, auto or no-deletes", value)
		}
		p.Confirm = value
	case "approvals":
		p.Approvals = r.number(key, value, 1, 20)
	case "approvers":
		p.Approvers = value
	case "approval-timeout":
		p.Timeout = r.duration(key, value)
	case "window":
		if _, found := r.config.window(value); !found {
			r.invalid("gantry:window=%s: there is no such window", value)
		}
		p.Windows = []string{value}
	case "retries":
		p.Retries = r.number(key, value, 0, 10)
	}
}

func (r *resolution) number(key, value string, least, most int) int {
	n, err := strconv.Atoi(value)
	switch {
	case err != nil || n < least || n > most:
		r.invalid("gantry:%s=%s: write %d to %d", key, value, least, most)
	case strconv.Itoa(n) != value:
		r.unclear("gantry:%s=%s: is that a number?", key, value)
	}
	return n
}

func (r *resolution) duration(key, value string) time.Duration {
	d, err := ParseDuration(value)
	if err != nil || d < time.Minute || d > 30*24*time.Hour {
		r.invalid("gantry:%s=%s: write 1m to 30d", key, value)
	}
	return d
}

// nobodyAsked finds settings about people for a stack that never asks any.
func (r *resolution) nobodyAsked() {
	p := &r.policy
	if p.Confirm != "auto" || len(p.ApprovalsWhen) > 0 || p.Below > 0 || p.Limits != (history.Limits{}) || (p.Approvals == 0 && p.Approvers == "" && p.Timeout == 0) {
		return
	}
	if p.Drift && slices.Equal(p.Types, []string{"TRACKED"}) && cmp.Or(len(r.values["approvals"]), len(r.values["approvers"]), len(r.values["approval-timeout"])) > 0 {
		r.invalid("gantry:confirm=auto without limits: nobody is ever asked for an approval")
		return
	}
	r.unclear("gantry:confirm=auto with settings about people from a profile")
}
