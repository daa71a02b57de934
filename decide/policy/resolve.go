package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// byDefault returns the policy of a stack without labels but gantry:managed.
func byDefault() Policy {
	return Policy{
		Profile:         defaultly(""),
		Confirm:         defaultly(ConfirmManual),
		Types:           defaultly([]spacelift.RunType{spacelift.RunTypeTracked}),
		Drift:           defaultly(true),
		Approvals:       defaultly(0),
		Approvers:       defaultly(""),
		SelfApproval:    defaultly(false),
		ApprovalTimeout: defaultly(Duration(0)),
		OnTimeout:       defaultly(TimeoutDiscard),
		Reminders:       defaultly(Duration(0)),
		Escalation:      defaultly([]Step(nil)),
		Clock:           defaultly(""),
		Windows:         defaultly([]string(nil)),
		Retries:         defaultly(0),
		RetryCauses:     defaultly([]Cause{CauseTransient, CauseCapacity}),
		RetryBackoff:    defaultly(Duration(time.Minute)),
		RetryAfterApply: defaultly(false),
		ReadLogs:        defaultly(false),
		After:           defaultly([]string(nil)),
		OldPlans:        defaultly(OldPlansReplace),
		Notify:          defaultly([]string(nil)),
		Deadlines: defaultly(PhaseDeadlines{
			Queued: Duration(30 * time.Minute), Starting: Duration(20 * time.Minute),
			Planning: Duration(time.Hour), Applying: Duration(2 * time.Hour),
		}),
	}
}

func defaultly[T any](value T) Setting[T] { return Setting[T]{value, OriginDefault} }

// Resolve returns the policy of a stack with some labels. It never fails: a label that
// can't be followed becomes a problem of the policy, which then confirms nothing.
// Labels that are not Gantry's are ignored; their order does not matter.
func (r *Definitions) Resolve(labels []string) Policy {
	p := byDefault()
	if r != nil && r.readLogs {
		p.ReadLogs = Setting[bool]{true, "logs.read"}
	}
	read := readLabels(spacelift.OurLabels(labels), r != nil && r.dependsOn)
	p.Problems = read.problems

	follow := func(k key, problems *[]Problem) {
		said := read.said[k.name]
		if len(said) > 1 && !k.many {
			*problems = append(*problems, Problem{Label: join(said), Problem: "they contradict each other", Remedy: "remove all but one"})
			return
		}
		for _, s := range said {
			if problem, remedy := k.follow(r, &p, s.value, s.label); problem != "" {
				*problems = append(*problems, Problem{Label: s.label, Problem: problem, Remedy: remedy})
			}
		}
	}
	for _, k := range grammar { // the profile is first: the others go over it
		follow(k, &p.Problems)
	}
	p.After.Value = sorted(p.After.Value)
	p.Notify.Value = sorted(p.Notify.Value)
	p.countApprovals()
	p.Problems = orNil(append(p.Problems, p.contradictions()...))
	slices.SortStableFunc(p.Problems, func(a, b Problem) int { return strings.Compare(a.Label, b.Label) })
	if len(p.Problems) > 0 {
		p.Confirm = defaultly(ConfirmManual)
	}
	return p
}

// Of returns the policy as it applies to one stack. A stack that follows itself
// could never run: that is a problem of its labels.
func (p Policy) Of(stack spacelift.StackID) Policy {
	if !slices.Contains(p.After.Value, string(stack)) {
		return p
	}
	label := p.After.Origin
	for said := range strings.SplitSeq(p.After.Origin, ", ") {
		if strings.HasSuffix(said, string(stack)) {
			label = said
		}
	}
	p.Problems = append(slices.Clone(p.Problems), Problem{
		Label: label, Problem: fmt.Sprintf("the stack %s follows itself", stack),
		Remedy: "remove the label that names the stack itself, or name the stack that goes first",
	})
	slices.SortStableFunc(p.Problems, func(a, b Problem) int { return strings.Compare(a.Label, b.Label) })
	p.Confirm = defaultly(ConfirmManual)
	return p
}

// follow overrides the policy by a profile, which must be valid.
func (p *Policy) follow(r *Definitions, profile Profile) {
	origin := "profile " + profile.Name
	over(&p.Confirm, profile.Confirm, origin)
	for limit, value := range map[**Setting[int]]*int{
		&p.Limits.MaxAdded: profile.MaxAdded, &p.Limits.MaxChanged: profile.MaxChanged, &p.Limits.MaxDeleted: profile.MaxDeleted,
	} {
		if value != nil {
			*limit = &Setting[int]{*value, origin}
		}
	}
	overList(&p.Types, profile.Types, origin)
	over(&p.Drift, profile.Drift, origin)
	over(&p.Approvals, profile.Approvals, origin)
	over(&p.Approvers, profile.Approvers, origin)
	over(&p.SelfApproval, profile.SelfApproval, origin)
	over(&p.ApprovalTimeout, profile.ApprovalTimeout, origin)
	over(&p.OnTimeout, profile.OnTimeout, origin)
	over(&p.Reminders, profile.Reminders, origin)
	if len(profile.Escalation) > 0 {
		steps := slices.Clone(profile.Escalation)
		for i, s := range steps {
			steps[i].Notify = orNil(r.channelNames(s.Notify))
		}
		p.Escalation = Setting[[]Step]{steps, origin}
	}
	over(&p.Clock, profile.Clock, origin)
	overList(&p.Windows, sorted(slices.Clone(profile.Windows)), origin)
	overList(&p.Notify, sorted(r.channelNames(profile.Notify)), origin)
	over(&p.Retries, profile.Retries, origin)
	overList(&p.RetryCauses, profile.RetryCauses, origin)
	over(&p.RetryBackoff, profile.RetryBackoff, origin)
	over(&p.RetryAfterApply, profile.RetryAfterApply, origin)
	over(&p.ReadLogs, profile.ReadLogs, origin)
	over(&p.OldPlans, profile.OldPlans, origin)
	for _, d := range []struct{ to, from *Duration }{
		{&p.Deadlines.Value.Queued, profile.Deadlines.Queued}, {&p.Deadlines.Value.Starting, profile.Deadlines.Starting},
		{&p.Deadlines.Value.Planning, profile.Deadlines.Planning}, {&p.Deadlines.Value.Applying, profile.Deadlines.Applying},
	} {
		if d.from != nil {
			*d.to, p.Deadlines.Origin = *d.from, origin
		}
	}
}

func over[T any](s *Setting[T], value *T, origin string) {
	if value != nil {
		*s = Setting[T]{*value, origin}
	}
}

func overList[E any](s *Setting[[]E], value []E, origin string) {
	if len(value) > 0 {
		*s = Setting[[]E]{slices.Clone(value), origin}
	}
}

// countApprovals requires one approval if something is set about people's decisions,
// but not their number. Without any such setting the stack is only observed: its
// people decide in Spacelift.
func (p *Policy) countApprovals() {
	if p.Approvals.Value > 0 {
		return
	}
	for _, origin := range []string{p.Confirm.Origin, p.Approvers.Origin, p.ApprovalTimeout.Origin} {
		if origin != OriginDefault {
			p.Approvals.Value = 1
		}
	}
}

// contradictions returns the values that could never matter, so that their author must
// have meant something else.
func (p Policy) contradictions() (problems []Problem) {
	if !p.confirmsAll() {
		return nil
	}
	approvals := "1 approval"
	if p.Approvals.Value != 1 {
		approvals = strconv.Itoa(p.Approvals.Value) + " approvals"
	}
	for _, said := range []struct{ origin, what, instead string }{
		{p.Approvals.Origin, "it asks for " + approvals, "approvals"},
		{p.Approvers.Origin, "it says who approves", "approvers"},
		{p.ApprovalTimeout.Origin, "it says how long people may take", "approval-timeout"},
	} {
		if said.origin == OriginDefault {
			continue
		}
		problems = append(problems, Problem{
			Label:   said.origin,
			Problem: fmt.Sprintf("%s, but with confirm=auto (%s) and no limit nobody is ever asked", said.what, p.Confirm.Origin),
			Remedy:  "say confirm=manual or confirm=no-deletes, or set a limit such as limits.maxDeleted in a profile, or don't set " + said.instead,
		})
	}
	return problems
}

// Profiles returns the names of the profiles, sorted.
func (r *Definitions) Profiles() []string {
	if r == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(r.profiles))
}

// Windows returns the names of the windows, sorted.
func (r *Definitions) Windows() []string {
	if r == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(r.windows))
}

func (r *Definitions) windowList() string  { return known(r.Windows()) }
func (r *Definitions) profileList() string { return known(r.Profiles()) }

func (r *Definitions) channelList() string {
	if r == nil {
		return known(nil)
	}
	return known(slices.Sorted(slices.Values(r.channels)))
}

func known(names []string) string {
	if len(names) == 0 {
		return " (there are none yet)"
	}
	return " (there are " + strings.Join(names, ", ") + ")"
}

// channel finds a channel by its name, which may be written with the # that
// Slack puts before it.
func (r *Definitions) channel(written string) (string, bool) {
	channel := strings.TrimPrefix(written, "#")
	return channel, r != nil && slices.Contains(r.channels, channel)
}

func (r *Definitions) channelNames(written []string) []string {
	names := make([]string, len(written))
	for i, w := range written {
		names[i], _ = r.channel(w)
	}
	return names
}

func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
