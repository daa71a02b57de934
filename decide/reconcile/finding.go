package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// Finding is something wrong that an operator should know.
type Finding struct {
	Kind    FindingKind `json:"kind"`
	Since   time.Time   `json:"since"`
	Summary string      `json:"summary"` // a sentence
	Fix     string      `json:"fix"`     // what to do about it
}

// FindingKind is the kind of a finding. Alerts are written against it: add, never rename.
type FindingKind string

// The kinds of findings. A replica notices FindingSecretMismatch, FindingUntrustedProxy,
// FindingUnreadableEvents, FindingInboxDamaged, FindingNewRunsDelayed, FindingConfiguration
// and FindingReconcileOverdue itself, and asks Temporal for FindingRunBypassed; Reconcile
// finds the others.
const (
	FindingWebhookMissing    FindingKind = "webhook-missing"
	FindingWebhookUnreadable FindingKind = "webhook-unreadable"
	FindingWebhookDisabled   FindingKind = "webhook-disabled"
	FindingSilence           FindingKind = "silence"
	FindingSpaceliftFails    FindingKind = "spacelift-fails"
	FindingSecretMismatch    FindingKind = "secret-mismatch"
	FindingUntrustedProxy    FindingKind = "untrusted-proxy"
	FindingUnreadableEvents  FindingKind = "unreadable-events"
	FindingInboxDamaged      FindingKind = "inbox-damaged"
	FindingNewRunsDelayed    FindingKind = "new-runs-delayed"
	FindingConfiguration     FindingKind = "configuration-not-in-effect"
	FindingReconcileOverdue  FindingKind = "reconcile-overdue"
	FindingExecutionStuck    FindingKind = "execution-stuck"
	FindingRunsVanished      FindingKind = "runs-vanished"
	FindingUnknownParent     FindingKind = "unknown-parent"
	FindingMisspeltLabel     FindingKind = "misspelt-label"
	FindingNotEnforced       FindingKind = "not-enforced"
	FindingRunBypassed       FindingKind = "run-bypassed"
)

// FindingKinds lists all kinds.
var FindingKinds = []FindingKind{
	FindingWebhookMissing, FindingWebhookUnreadable, FindingWebhookDisabled, FindingSilence, FindingSpaceliftFails,
	FindingSecretMismatch, FindingUntrustedProxy, FindingUnreadableEvents, FindingInboxDamaged, FindingNewRunsDelayed, FindingConfiguration, FindingReconcileOverdue, FindingExecutionStuck, FindingRunsVanished,
	FindingUnknownParent, FindingMisspeltLabel, FindingNotEnforced, FindingRunBypassed,
}

// Severity says how urgent a finding is.
type Severity string

// The severities.
const (
	SeverityCritical Severity = "critical" // runs may be late, unguarded or unnoticed now
	SeverityWarning  Severity = "warning"  // it needs attention, but Gantry works
)

// Severity returns the severity of a kind.
func (k FindingKind) Severity() Severity {
	switch k {
	case FindingWebhookUnreadable, FindingUntrustedProxy, FindingUnreadableEvents, FindingInboxDamaged, FindingConfiguration, FindingRunsVanished, FindingUnknownParent, FindingMisspeltLabel, FindingNotEnforced:
		return SeverityWarning
	}
	return SeverityCritical
}

// WebhookFindings are the kinds that AddWebhook adds.
var WebhookFindings = []FindingKind{FindingWebhookMissing, FindingWebhookUnreadable, FindingWebhookDisabled}

// SurveyFindings are the kinds that a survey finds.
var SurveyFindings = []FindingKind{FindingExecutionStuck, FindingRunsVanished}

// remembered is the time for which a webhook that was switched off remains a finding
// after Gantry switched it on again: long enough for an alert and a check.
const remembered = time.Hour

// One tick that finds an event without its notification, or that fails, is no
// finding. So many in a row are.
const (
	silentTicks = 2
	failedTicks = 2
)

// longestBackOff bounds the pause after Spacelift limited the rate of calls, unless
// Spacelift itself asks for a longer one.
const longestBackOff = 15 * time.Minute

// vanishedReads is the number of reads that must miss a run that Spacelift showed
// before the run counts as vanished: one answer may be wrong.
const vanishedReads = 2

// Findings replaces the findings of the last tick by those of this one. A finding
// that remains keeps its begin.
type Findings struct {
	Before []Finding
	Now    []Finding
}

// Add adds a finding. It began at since, or earlier if it was there before.
func (f *Findings) Add(kind FindingKind, since time.Time, summary, fix string) {
	if i := slices.IndexFunc(f.Before, func(b Finding) bool { return b.Kind == kind }); i >= 0 && f.Before[i].Since.Before(since) {
		since = f.Before[i].Since
	}
	f.Now = append(f.Now, Finding{Kind: kind, Since: since, Summary: summary, Fix: fix})
}

// Keep keeps the findings of some kinds that this tick could not check.
func (f *Findings) Keep(kinds ...FindingKind) {
	for _, b := range f.Before {
		if slices.Contains(kinds, b.Kind) {
			f.Now = append(f.Now, b)
		}
	}
}

// Fresh returns the findings that were not there before.
func (f *Findings) Fresh() []Finding {
	return slices.DeleteFunc(slices.Clone(f.Now), func(n Finding) bool { return among(f.Before, n.Kind) })
}

func among(all []Finding, kind FindingKind) bool {
	return slices.ContainsFunc(all, func(f Finding) bool { return f.Kind == kind })
}

// webhookState is the result of reading the named webhook.
type webhookState string

// The states of a webhook.
const (
	WebhookUnset      webhookState = "none" // no webhook is configured
	WebhookEnabled    webhookState = "enabled"
	WebhookDisabled   webhookState = "disabled"
	WebhookMissing    webhookState = "missing"
	WebhookUnreadable webhookState = "refused" // Spacelift refuses to show it
	WebhookUnclear    webhookState = "unclear" // no answer this time
)

// WebhookCheck is one check of the named webhook.
type WebhookCheck struct {
	State    webhookState
	Problem  string // why reading it, or switching it on, failed
	Switched bool   // Gantry switched it on
}

// AddWebhook adds what is wrong with the named webhook.
func (f *Findings) AddWebhook(c *carried, in Input, check WebhookCheck, at time.Time) {
	name := fmt.Sprintf("the named webhook %q of account %s", in.Webhook, in.Account)
	switch check.State {
	case WebhookUnset:
		f.Add(FindingWebhookMissing, at, fmt.Sprintf("no webhook of account %s is watched, so Gantry will not notice when Spacelift switches it off", in.Account),
			"set guardian.webhook to the id of the named webhook; gantry setup makes one")
	case WebhookMissing:
		f.Add(FindingWebhookMissing, at, name+" does not exist, so no notification can arrive through it",
			"create it with gantry setup or Terraform, or set guardian.webhook to the id of the one that points here")
	case WebhookUnclear:
		f.Keep(WebhookFindings...)
		return
	case WebhookUnreadable:
		f.Add(FindingWebhookUnreadable, at, "Gantry can't read "+name+": "+check.Problem,
			"give Gantry's API key the right to read webhooks in the webhook's space")
	case WebhookDisabled:
		if c.SwitchedOff.IsZero() {
			c.SwitchedOff = at
		}
	}
	if check.Switched {
		c.SwitchedOn = at
	}
	const deliveries = "read the webhook's deliveries in Spacelift to see what failed ten times in a row: Gantry must be reachable there, and must know the secret"
	switch {
	case check.State == WebhookDisabled && !check.Switched && check.Problem != "":
		f.Add(FindingWebhookDisabled, c.SwitchedOff, name+" is switched off and Gantry could not switch it on: "+check.Problem, deliveries+"; then enable it in Spacelift")
	case check.State == WebhookDisabled && !check.Switched:
		f.Add(FindingWebhookDisabled, c.SwitchedOff, name+" is switched off, and guardian.reenable is off", deliveries+"; then enable it in Spacelift")
	case !c.SwitchedOn.IsZero() && at.Before(c.SwitchedOn.Add(remembered)):
		f.Add(FindingWebhookDisabled, c.SwitchedOff, fmt.Sprintf("%s was switched off; Gantry switched it on again at %s and caught up from the API",
			name, c.SwitchedOn.Format(time.RFC3339)), deliveries)
	case check.State == WebhookEnabled:
		c.SwitchedOff, c.SwitchedOn = time.Time{}, time.Time{}
	}
}

// AddSilence adds that notifications don't arrive: runs made progress, and Reconcile
// was the first to find out, several times in a row.
func (f *Findings) AddSilence(c *carried, fresh bool, inProgress int, at time.Time) {
	switch {
	case fresh:
		if c.Silent++; c.Silent == 1 {
			c.SilentSince = at
		}
	case inProgress > 0:
		c.Silent, c.SilentSince = 0, time.Time{}
	}
	if c.Silent >= silentTicks {
		f.Add(FindingSilence, c.SilentSince, "managed runs change their state and no notification arrives; Gantry learns of it from the API, late",
			"check the webhook's deliveries and the notification policy in Spacelift (gantry setup --check compares them), and /v1/deliveries here for what was refused or ignored")
	}
}

// AddFailure adds that Reconcile fails.
func (f *Findings) AddFailure(c *carried, r *Report, final bool) {
	if r.Outcome != OutcomeFailed {
		c.Failures, c.FailingSince = 0, time.Time{}
		return
	}
	if c.Failures++; c.Failures == 1 {
		c.FailingSince = r.At
	}
	if final || c.Failures >= failedTicks {
		f.Add(FindingSpaceliftFails, c.FailingSince, "Gantry can't compare its runs with Spacelift: "+r.Reason,
			"check whether Spacelift and Temporal answer, and whether Gantry's API key is valid and may read runs; gantry doctor checks all of it")
	}
}

// AddStuck adds executions that can't continue: those that Temporal marked, of which
// some are named, and the mute ones that did not answer.
func (f *Findings) AddStuck(marked int, first, mute []string, at time.Time) {
	names := slices.Clone(first)
	for _, id := range mute {
		if !slices.Contains(names, id) {
			names = append(names, id)
		}
	}
	count := max(marked, len(names))
	if count == 0 {
		return
	}
	subject := "1 execution can't continue, because every attempt at its next step fails: "
	if count > 1 {
		subject = fmt.Sprintf("%d executions can't continue, because every attempt at their next step fails; among them are ", count)
	}
	f.Add(FindingExecutionStuck, at, subject+strings.Join(names[:min(len(names), 3)], ", "),
		"read the workers' logs for the workflow ids, decide about these runs in Spacelift meanwhile, and install a version of Gantry that fixes it; the executions then continue")
}

// AddVanished adds runs that Spacelift showed before and does not know any more.
func (f *Findings) AddVanished(missing []MissingRun) {
	var since time.Time
	first, count := "", 0
	for _, m := range missing {
		if !m.Shown || m.Reads < vanishedReads {
			continue
		}
		if count++; count == 1 || m.Since.Before(since) {
			since, first = m.Since, m.Run
		}
	}
	if count == 0 {
		return
	}
	f.Add(FindingRunsVanished, since, fmt.Sprintf("Spacelift showed %d runs that it does not know any more, since %s; one of them is %s",
		count, since.Format(time.RFC3339), first),
		"if their stacks were not deleted, give Gantry's API key access to their spaces again; Gantry gives up each run a day after it vanished")
}

// BackOff returns the time until which Reconcile calls Spacelift no more, after so
// many rate limits in a row. asked is the pause that Spacelift asks for.
func BackOff(at time.Time, interval time.Duration, limits int, asked time.Duration) time.Time {
	return at.Add(max(asked, decide.Backoff(interval, limits-1, longestBackOff)))
}
