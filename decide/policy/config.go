package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/expression"
	"github.com/gantryhq/gantry/spacelift"
)

// Config holds the names that labels may refer to, and defaults.
type Config struct {
	Profiles []Profile
	Windows  []Window
	Channels []string // names of the channels that labels may notify

	// Fallback are the channels to notify of held plans of a stack that has none.
	Fallback []string

	DefaultProfile string // whose values every stack starts from; empty: none
	Rules          []StackRule

	// DependsOnLabels lets labels such as depends-on:network-prod count as
	// gantry:after=network-prod.
	DependsOnLabels bool

	ReadLogs bool // whether logs may be read where no profile says

	// Approvers are all people whose tokens may approve, by name; none if this process
	// is not configured with tokens.
	Approvers []decide.Person
}

// Profile is a set of policy values that a label names. Nil leaves the default in
// effect. Labels override a profile.
type Profile struct {
	Name string

	Confirm                          *ConfirmMode
	MaxAdded, MaxChanged, MaxDeleted *int
	Types                            []spacelift.RunType
	Drift                            *bool
	ConfirmWhen, HoldWhen            *string
	ApprovalsWhen                    []Requirement

	Approvals       *int
	Approvers       *string
	SelfApproval    *bool
	ApprovalTimeout *Duration
	OnTimeout       *TimeoutAction
	Reminders       *Duration
	Escalation      []Step
	Clock           *string // name of a window
	Windows         []string
	Notify          []string

	Retries         *int
	RetryCauses     []Cause
	RetryBackoff    *Duration
	RetryAfterApply *bool
	ReadLogs        *bool
	OldPlans        *OldPlans
	Deadlines       ProfileDeadlines
}

// ProfileDeadlines are the deadlines of a profile; nil leaves the default in effect.
type ProfileDeadlines struct{ Queued, Starting, Planning, Applying *Duration }

// Definitions are the profiles, windows, channels and approvers that a configuration
// defines, checked by Compile. They are safe for concurrent use. Nil defines nothing.
type Definitions struct {
	profiles  map[string]Profile
	windows   map[string]*window
	channels  []string
	dependsOn bool
	readLogs  bool
	approvers []decide.Person
	fallback  []string
	programs  map[string]*expression.Program // by their text
	digest    string                         // of the Config

	defaultProfile *Profile
	rules          []compiledRule
}

// Bounds of values, in labels and profiles alike.
const (
	maxApprovals = 20
	maxRetries   = 10
	maxLimit     = 1_000_000
	maxGroup     = 100
	maxSteps     = 20
)

var (
	approvalTimeouts = span{time.Minute, 30 * day}
	reminderPauses   = span{time.Minute, 30 * day}
	stepTimes        = span{time.Minute, 30 * day}
	backoffs         = span{time.Second, day}
	deadlines        = span{time.Minute, 7 * day}
)

type span struct{ least, most time.Duration }

func (s span) holds(d Duration) bool {
	return time.Duration(d) >= s.least && time.Duration(d) <= s.most
}

func (s span) String() string {
	most := Duration(s.most).String()
	if s.most > 2*day { // people count these in days
		most = strconv.Itoa(int(s.most/day)) + "d"
	}
	return Duration(s.least).String() + " and " + most
}

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Compile checks a configuration. Its error joins one Mistake for each problem.
func Compile(c Config) (*Definitions, error) {
	r := &Definitions{profiles: map[string]Profile{}, windows: map[string]*window{}, dependsOn: c.DependsOnLabels, readLogs: c.ReadLogs, approvers: c.Approvers, programs: map[string]*expression.Program{}, fallback: sorted(slices.Clone(c.Fallback))}
	var problems []error
	for i, w := range c.Windows {
		at := fmt.Sprintf("windows[%d]", i)
		compiled, errs := compileWindow(w)
		if err := checkName(w.Name); err != nil {
			errs = append(errs, err)
		}
		if _, twice := r.windows[w.Name]; twice {
			errs = append(errs, errors.New("name: another window has it; give each its own"))
		}
		problems = append(problems, mistakes(at, errs)...)
		r.windows[w.Name] = compiled // a broken one too: a profile that names it is not to blame
	}
	for i, channel := range c.Channels {
		if err := checkName(channel); err != nil {
			problems = append(problems, At(fmt.Sprintf("channels[%d]", i), err))
		}
		if slices.Contains(r.channels, channel) {
			problems = append(problems, mistake(fmt.Sprintf("channels[%d]", i), "name: another channel has it; give each its own"))
		}
		r.channels = append(r.channels, channel)
	}
	for i, p := range c.Profiles {
		at := fmt.Sprintf("profiles[%d]", i)
		errs := p.check(r)
		if err := checkName(p.Name); err != nil {
			errs = append(errs, err)
		}
		if _, twice := r.profiles[p.Name]; twice {
			errs = append(errs, errors.New("name: another profile has it; give each its own"))
		}
		problems = append(problems, mistakes(at, errs)...)
		r.profiles[p.Name] = p
	}
	problems = append(problems, r.compileRules(c)...)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("digest the configuration: %w", err)
	}
	r.digest = digest(string(text))
	return r, nil
}

func checkName(s string) error {
	if !validName.MatchString(s) {
		return fmt.Errorf("name: %q must be letters, digits, dots, dashes and underscores, at most 63, beginning with a letter or digit", s)
	}
	return nil
}

// check returns the mistakes in a profile.
func (p Profile) check(r *Definitions) []error {
	c := profileCheck{rules: r}
	c.confirmation(p)
	c.expressions(p)
	c.approval(p)
	c.following(p)
	if len(c.errs) == 0 {
		alone := combination{Policy: byDefault()}
		alone.take(r.layer(p, "profile "+p.Name))
		for _, problem := range alone.contradictions() {
			c.bad("%s; %s", problem.Problem, problem.Remedy)
		}
	}
	return c.errs
}

// profileCheck collects the mistakes in a profile.
type profileCheck struct {
	rules *Definitions
	errs  []error
}

// confirmation checks the values about automatic confirmation.
func (c *profileCheck) confirmation(p Profile) {
	if p.Confirm != nil && !slices.Contains(ConfirmModes, *p.Confirm) {
		c.bad("confirm: %q is none of auto, manual and no-deletes", *p.Confirm)
	}
	c.within("limits.maxAdded", p.MaxAdded, 0, maxLimit)
	c.within("limits.maxChanged", p.MaxChanged, 0, maxLimit)
	c.within("limits.maxDeleted", p.MaxDeleted, 0, maxLimit)
	for _, t := range p.Types {
		if !t.Known() {
			c.bad("types: there is no run type %q; there are %s", t, listed(spacelift.RunTypes))
		}
	}
}

// approval checks the values about people's decisions, and about waiting for them.
func (c *profileCheck) approval(p Profile) {
	c.within("approvals", p.Approvals, 1, maxApprovals)
	if p.Approvers != nil && !isGroup(*p.Approvers) {
		c.bad("approvers: %q is not the name of a group", *p.Approvers)
	}
	c.lastsOrNone("approvalTimeout", p.ApprovalTimeout, approvalTimeouts)
	if p.OnTimeout != nil && !slices.Contains(TimeoutActions, *p.OnTimeout) {
		c.bad("onTimeout: %q is neither discard nor keep", *p.OnTimeout)
	}
	c.lastsOrNone("reminders", p.Reminders, reminderPauses)
	c.errs = append(c.errs, checkSteps(p.Escalation)...)
	for i, s := range p.Escalation {
		c.notifies(fmt.Sprintf("escalation[%d].notify", i), s.Notify)
	}
	if p.Clock != nil && *p.Clock != "" {
		c.opens("clock", *p.Clock)
	}
}

// following checks all other values: windows, channels, retries, old plans and deadlines.
func (c *profileCheck) following(p Profile) {
	for _, w := range p.Windows {
		c.opens("windows", w)
	}
	c.notifies("notify", p.Notify)
	c.within("retries", p.Retries, 0, maxRetries)
	for _, cause := range p.RetryCauses {
		if !Retryable(cause) {
			c.bad("retryCauses: %q is neither %s nor %s; a retry fixes no other cause", cause, CauseTransient, CauseCapacity)
		}
	}
	c.lasts("retryBackoff", p.RetryBackoff, backoffs)
	if p.OldPlans != nil && !slices.Contains(OldPlansActions, *p.OldPlans) {
		c.bad("oldPlans: %q is neither replace nor keep", *p.OldPlans)
	}
	c.lastsOrNone("deadlines.queued", p.Deadlines.Queued, deadlines)
	c.lastsOrNone("deadlines.starting", p.Deadlines.Starting, deadlines)
	c.lastsOrNone("deadlines.planning", p.Deadlines.Planning, deadlines)
	c.lastsOrNone("deadlines.applying", p.Deadlines.Applying, deadlines)
}

func (c *profileCheck) bad(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *profileCheck) within(what string, value *int, least, most int) {
	if value != nil && (*value < least || *value > most) {
		c.bad("%s: %d is not within %d and %d", what, *value, least, most)
	}
}

func (c *profileCheck) lasts(what string, value *Duration, s span) {
	if value != nil && !s.holds(*value) {
		c.bad("%s: %s is not within %s", what, *value, s)
	}
}

func (c *profileCheck) lastsOrNone(what string, value *Duration, s span) {
	if value != nil && *value != 0 && !s.holds(*value) {
		c.bad("%s: %s is neither 0 nor within %s", what, *value, s)
	}
}

func (c *profileCheck) opens(what, name string) {
	if c.rules.windows[name] == nil {
		c.bad("%s: there is no window %q; configure it under windows%s", what, name, c.rules.windowList())
	}
}

func (c *profileCheck) notifies(what string, channels []string) {
	for _, channel := range channels {
		if _, ok := c.rules.channel(channel); !ok {
			c.bad("%s: there is no channel %q; configure it under channels%s", what, channel, c.rules.channelList())
		}
	}
}

func checkSteps(steps []Step) (errs []error) {
	bad := func(i int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("escalation[%d].%w", i, fmt.Errorf(format, args...)))
	}
	if len(steps) > maxSteps {
		errs = append(errs, fmt.Errorf("escalation: %d steps are more than %d", len(steps), maxSteps))
	}
	for i, s := range steps {
		switch {
		case !stepTimes.holds(s.After):
			bad(i, "after: %s is not within %s", s.After, stepTimes)
		case i > 0 && s.After <= steps[i-1].After:
			bad(i, "after: %s does not come after the step before, at %s", s.After, steps[i-1].After)
		}
		if len(s.Notify) == 0 && !s.Discard {
			bad(i, "notify: the step does nothing; name channels, or say discard: true")
		}
		if i > 0 && steps[i-1].Discard {
			bad(i, "after: nothing comes after a step that discards the plan; remove it")
		}
	}
	return errs
}
