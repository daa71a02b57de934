package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// remembered is how long a webhook that was switched off stays a finding after
// Gantry switched it on again: long enough for an alert and a look.
const remembered = time.Hour

// unheardTicks is how many ticks in a row must find what no notification told
// before Gantry speaks of silence, and failedTicks how many must fail before it
// speaks of that: one happens.
const (
	unheardTicks = 2
	failedTicks  = 2
)

// longestBackOff bounds how long Reconcile leaves a rate-limiting Spacelift
// alone, unless that asks for more.
const longestBackOff = 15 * time.Minute

// Found replaces what was found by what is wrong now, keeping since when.
type Found struct {
	Before []Finding
	Now    []Finding
}

// Add adds a finding. It began at since, or earlier if it was there before.
func (f *Found) Add(kind FindingKind, since time.Time, summary, fix string) {
	if i := slices.IndexFunc(f.Before, func(b Finding) bool { return b.Kind == kind }); i >= 0 && f.Before[i].Since.Before(since) {
		since = f.Before[i].Since
	}
	f.Now = append(f.Now, Finding{Kind: kind, Since: since, Summary: summary, Fix: fix})
}

// Keep keeps what was found before, where it could not be looked at again.
func (f *Found) Keep(kinds ...FindingKind) {
	for _, b := range f.Before {
		if slices.Contains(kinds, b.Kind) {
			f.Now = append(f.Now, b)
		}
	}
}

// WebhookFindings are the kinds that judgeWebhook finds.
var WebhookFindings = []FindingKind{FindingWebhookMissing, FindingWebhookUnreadable, FindingWebhookDisabled}

// SurveyFindings are the kinds that a survey finds.
var SurveyFindings = []FindingKind{FindingExecutionStuck, FindingRunsVanished}

// Fresh returns the findings that were not there before.
func (f *Found) Fresh() []Finding {
	var list []Finding
	for _, n := range f.Now {
		if !slices.ContainsFunc(f.Before, func(b Finding) bool { return b.Kind == n.Kind }) {
			list = append(list, n)
		}
	}
	return list
}

// sight is how the look at the webhook ended.
type sight string

const (
	SightNone     sight = "none" // no webhook is configured
	SightEnabled  sight = "enabled"
	SightDisabled sight = "disabled"
	SightMissing  sight = "missing"
	SightRefused  sight = "refused" // and will be
	SightUnclear  sight = "unclear" // no answer this time
)

// Guard is what the guardian saw and did in one tick.
type Guard struct {
	Saw      sight
	Problem  string // why the look, or switching it on, failed
	Switched bool   // Gantry switched it on
}

// JudgeWebhook turns what the guardian saw into findings.
func JudgeWebhook(f *Found, c *carried, in Input, g Guard, at time.Time) {
	name := fmt.Sprintf("the named webhook %q of account %s", in.Webhook, in.Account)
	switch g.Saw {
	case SightNone:
		f.Add(FindingWebhookMissing, at, fmt.Sprintf("no webhook of account %s is watched, so Gantry will not notice when Spacelift switches it off", in.Account),
			"set guardian.webhook to the id of the named webhook; gantry setup makes one")
	case SightMissing:
		f.Add(FindingWebhookMissing, at, name+" does not exist, so no notification can come through it",
			"create it with gantry setup or Terraform, or set guardian.webhook to the id of the one that points here")
	case SightUnclear:
		f.Keep(WebhookFindings...)
		return
	case SightRefused:
		f.Add(FindingWebhookUnreadable, at, "Gantry can't read "+name+": "+g.Problem,
			"give Gantry's API key the right to read webhooks in the webhook's space")
	case SightDisabled:
		if c.SwitchedOff.IsZero() {
			c.SwitchedOff = at
		}
	}
	if g.Switched {
		c.SwitchedOn = at
	}
	const look = "look in Spacelift at the webhook's deliveries for what failed ten times in a row: Gantry must be reachable there, and must know the secret"
	switch {
	case g.Saw == SightDisabled && !g.Switched && g.Problem != "":
		f.Add(FindingWebhookDisabled, c.SwitchedOff, name+" is switched off and Gantry could not switch it on: "+g.Problem, look+"; then enable it in Spacelift")
	case g.Saw == SightDisabled && !g.Switched:
		f.Add(FindingWebhookDisabled, c.SwitchedOff, name+" is switched off, and guardian.reenable is off", look+"; then enable it in Spacelift")
	case !c.SwitchedOn.IsZero() && at.Before(c.SwitchedOn.Add(remembered)):
		f.Add(FindingWebhookDisabled, c.SwitchedOff, fmt.Sprintf("%s was switched off; Gantry switched it on again at %s and caught up from the API",
			name, c.SwitchedOn.Format(time.RFC3339)), look)
	case g.Saw == SightEnabled:
		c.SwitchedOff, c.SwitchedOn = time.Time{}, time.Time{}
	}
}

// JudgeSilence notices that notifications do not come: runs went on, and
// Reconcile was the one who found out, again and again.
func JudgeSilence(f *Found, c *carried, fresh bool, inProgress int, at time.Time) {
	switch {
	case fresh:
		if c.Unheard++; c.Unheard == 1 {
			c.UnheardSince = at
		}
	case inProgress > 0:
		c.Unheard, c.UnheardSince = 0, time.Time{}
	}
	if c.Unheard >= unheardTicks {
		f.Add(FindingSilence, c.UnheardSince, "managed runs change their state and no notification tells of it; Gantry learns of it from the API, late",
			"look in Spacelift at the webhook's deliveries and at the notification policy (gantry setup --check compares them), and here at /v1/deliveries for what was refused or ignored")
	}
}

// JudgeFailure notices that Spacelift's API does not serve.
func JudgeFailure(f *Found, c *carried, r *Report, final bool) {
	if r.Outcome != OutcomeFailed {
		c.Failures, c.FailingSince = 0, time.Time{}
		return
	}
	if c.Failures++; c.Failures == 1 {
		c.FailingSince = r.At
	}
	if final || c.Failures >= failedTicks {
		f.Add(FindingSpaceliftFails, c.FailingSince, "Gantry can't compare its runs with Spacelift: "+r.Reason,
			"see whether Spacelift and Temporal answer, and whether Gantry's API key is valid and may read runs; gantry doctor checks all of it")
	}
}

// JudgeStuck notices executions that can't go on. Temporal marked marked of them,
// and mute ones did not answer.
func JudgeStuck(f *Found, marked int, first, mute []string, at time.Time) {
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
	subject := "1 execution can't go on, because every attempt at its next step fails: "
	if count > 1 {
		subject = fmt.Sprintf("%d executions can't go on, because every attempt at their next step fails; among them are ", count)
	}
	f.Add(FindingExecutionStuck, at, subject+strings.Join(names[:min(len(names), 3)], ", "),
		"read the workers' logs for the workflow ids, decide about these runs in Spacelift meanwhile, and install a version of Gantry that mends it; the executions then go on by themselves")
}

// vanishedLooks is how many looks must miss a run that Spacelift showed before
// Gantry speaks of it: one answer may be wrong.
const vanishedLooks = 2

// JudgeVanished notices runs that Spacelift showed before and does not know any
// more.
func JudgeVanished(f *Found, missing []MissingRun) {
	var since time.Time
	var first runKey
	count := 0
	for _, m := range missing {
		if !m.Shown || m.Looks < vanishedLooks {
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

// BackOff is until when Spacelift is left alone after it asked for fewer calls
// so many times in a row.
func BackOff(at time.Time, interval time.Duration, limits int, asked time.Duration) time.Time {
	return at.Add(max(asked, decide.Backoff(interval, limits-1, longestBackOff)))
}
