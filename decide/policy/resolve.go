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

// Resolve returns the policy of a stack: the rules that select it and its labels. It
// never fails: a label that can't be followed becomes a problem of the policy, which
// then confirms nothing. Labels that are not Gantry's are ignored, except by rules;
// their order does not matter.
func (r *Definitions) Resolve(s Stack) Policy {
	c := combination{Policy: byDefault(), locks: map[string]string{}}
	if r != nil {
		r.takeRules(&c, s)
	}
	read := readLabels(spacelift.OurLabels(s.Labels), r != nil && r.dependsOn)
	c.base, c.Problems = c.Policy, append(c.Problems, read.problems...)
	for _, k := range grammar { // the profile is first: the others go over it
		r.takeLabels(&c, k, read.said[k.name])
	}
	p := c.Policy
	p.After.Value = sorted(p.After.Value)
	p.Notify.Value = sorted(p.Notify.Value)
	p.countApprovals()
	if problem, ok := p.followsItself(s.ID); ok {
		p.Problems = append(p.Problems, problem)
	}
	p.Problems = orNil(append(p.Problems, p.contradictions()...))
	slices.SortStableFunc(p.Problems, func(a, b Problem) int { return strings.Compare(a.Label, b.Label) })
	if len(p.Problems) > 0 {
		p.hold(r)
	}
	return p
}

// hold makes the policy confirm nothing. If it notifies nobody, the people who look
// after Gantry are notified: a label that was misspelt may have named the channel.
func (p *Policy) hold(r *Definitions) {
	p.Confirm = defaultly(ConfirmManual)
	if r != nil && len(r.fallback) > 0 && len(p.Notify.Value) == 0 {
		p.Notify = Setting[[]string]{slices.Clone(r.fallback), "guardian.notify"}
	}
}

// takeRules adds the values that the configuration gives to a stack.
func (r *Definitions) takeRules(c *combination, s Stack) {
	if r.readLogs {
		c.ReadLogs = Setting[bool]{true, "logs.read"}
	}
	if r.defaultProfile != nil {
		c.take(r.layer(*r.defaultProfile, "defaultProfile "+r.defaultProfile.Name))
	}
	for i := range r.rules {
		if rule := &r.rules[i]; rule.selects(s) {
			l := r.layer(rule.profile, "rule "+rule.Name+" (profile "+rule.Profile+")")
			l.locked = rule.Locked
			c.take(l)
		}
	}
}

// takeLabels adds the labels of one kind.
func (r *Definitions) takeLabels(c *combination, k key, said []said) {
	if len(said) > 1 && !k.many {
		c.Problems = append(c.Problems, Problem{Label: join(said), Problem: "they contradict each other", Remedy: "remove all but one"})
		return
	}
	for _, s := range said {
		l := layer{origin: s.label, label: s.label}
		if problem, remedy := k.follow(r, &l, s.value); problem != "" {
			c.Problems = append(c.Problems, Problem{Label: s.label, Problem: problem, Remedy: remedy})
			continue
		}
		if l.Name != "" {
			label := l.label
			l = r.layer(l.Profile, l.origin)
			l.label = label
		}
		c.take(l)
	}
}

// layer returns a profile as a layer, which names channels without their #.
func (r *Definitions) layer(p Profile, origin string) layer {
	p.Windows, p.Notify = sorted(slices.Clone(p.Windows)), sorted(r.channelNames(p.Notify))
	p.Escalation = slices.Clone(p.Escalation)
	for i, s := range p.Escalation {
		p.Escalation[i].Notify = orNil(r.channelNames(s.Notify))
	}
	return layer{Profile: p, origin: origin}
}

// Of returns the policy as it applies to one stack. A stack that follows itself
// could never run: that is a problem of its labels.
func (p Policy) Of(stack spacelift.StackID) Policy {
	problem, ok := p.followsItself(stack)
	if !ok || slices.Contains(p.Problems, problem) {
		return p
	}
	p.Problems = append(slices.Clone(p.Problems), problem)
	slices.SortStableFunc(p.Problems, func(a, b Problem) int { return strings.Compare(a.Label, b.Label) })
	p.Confirm = defaultly(ConfirmManual)
	return p
}

func (p Policy) followsItself(stack spacelift.StackID) (problem Problem, ok bool) {
	if !slices.Contains(p.After.Value, string(stack)) {
		return problem, false
	}
	label := p.After.Origin
	for said := range strings.SplitSeq(p.After.Origin, ", ") {
		if strings.HasSuffix(said, string(stack)) {
			label = said
		}
	}
	return Problem{
		Label: label, Problem: fmt.Sprintf("the stack %s follows itself", stack),
		Remedy: "remove the label that names the stack itself, or name the stack that goes first",
	}, true
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

// Profile returns the policy of a stack to which nothing but a profile applies.
func (r *Definitions) Profile(name string) Policy {
	c := combination{Policy: byDefault(), locks: map[string]string{}}
	if profile, ok := r.profiles[name]; ok {
		c.take(r.layer(profile, "profile "+name))
	}
	c.countApprovals()
	return c.Policy
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
