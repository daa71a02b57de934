package managed

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// ExplainQuery answers with an Explanation.
const ExplainQuery = "explain"

// Explanation says why a run is where it is: computed by the same pure
// functions that decide.
type Explanation struct {
	Run     spacelift.RunRef   `json:"run"`
	State   spacelift.RunState `json:"state,omitempty"`
	Phase   Phase              `json:"phase"`
	Summary string             `json:"summary"` // one sentence: what it waits for, or how it ended

	Enforcement *policy.Enforcement `json:"enforcement,omitempty"` // see RunStatus

	WaitingFor *WaitingFor         `json:"waitingFor,omitempty"` // nil once the run has ended
	Unblock    []Unblock           `json:"unblock,omitempty"`    // who can do what to move it on
	Next       []NextStep          `json:"next,omitempty"`       // what happens if nobody does anything, soonest first
	Approvals  *Approvals          `json:"approvals,omitempty"`  // where people are asked
	Resources  *Resources          `json:"resources,omitempty"`  // see RunStatus
	Chains     []ChainRef          `json:"chains,omitempty"`     // see RunStatus
	Followers  []spacelift.StackID `json:"followers,omitempty"`  // see RunStatus
	Rules      []Rule              `json:"rules,omitempty"`      // every rule that matched, in the order it was looked at
}

// Unblock names people who can move a run on, and how.
type Unblock struct {
	Who string `json:"who"`
	How string `json:"how"`
}

// NextStep is a step that will happen automatically.
type NextStep struct {
	At   time.Time `json:"at,omitzero"` // zero: not at a known time
	What string    `json:"what"`
}

// Approvals counts people's decisions about the current plan.
type Approvals struct {
	Needed   int       `json:"needed"`
	Given    int       `json:"given"`
	Group    string    `json:"group,omitempty"`    // of the stack's own approvals; empty: anyone whose token may approve
	Excluded []string  `json:"excluded,omitempty"` // who may not, being the author or having triggered it
	Decided  []Decided `json:"decided,omitempty"`

	// Required are the approvals among those needed that the policy's expressions ask
	// for; the others are the stack's own.
	Required []RequiredApprovals `json:"required,omitempty"`
}

// RequiredApprovals counts the approvals that an expression of the policy asks for.
type RequiredApprovals struct {
	Needed int    `json:"needed"`
	Given  int    `json:"given"`
	Group  string `json:"group,omitempty"`
	Reason string `json:"reason"` // such as "deletes aws_db_instance.main"
}

// Rule is a rule in effect for the run, with its result. Effect is the result in
// one word.
type (
	Rule   = policy.Rule
	Effect = policy.Effect
)

// The effects.
const (
	EffectAllows  = policy.EffectAllows
	EffectAsks    = policy.EffectAsks
	EffectForbids = policy.EffectForbids
	EffectApplies = policy.EffectApplies
)

// Explain says why a run is where it is, by the same functions that decide.
func (s *Situation) Explain() Explanation {
	n := s.Next()
	e := Explanation{Run: s.Run, State: s.State, Phase: n.Phase, Summary: n.Reason, Enforcement: s.Enforcement, Approvals: s.Approvals, Resources: s.Resources, Chains: s.Chains, Followers: s.Followers}
	if n.Do != DoFinish {
		e.WaitingFor = n.waitingFor(s.RunStatus)
		e.Unblock = unblock(s, n)
		e.Next = s.upcoming(n)
	} else if s.retryable() {
		e.Unblock = []Unblock{{Who: whoOperates, How: s.retryCommand()}}
	}
	e.Rules = rulesOf(s)
	return e
}

// unblock says who can move the run on, and how.
func unblock(s *Situation, n Next) []Unblock {
	inSpacelift := Unblock{Who: whoSpacelift, How: "confirm or discard the plan in Spacelift"}
	if s.ownReview() {
		inSpacelift = Unblock{Who: discardOnly(whoSpacelift), How: "discard the plan in Spacelift, which confirms nothing before Gantry's review"}
	}
	if s.State != spacelift.RunStateUnconfirmed {
		inSpacelift = Unblock{Who: whoReviewer, How: "review the run in Spacelift"}
	}
	var all []Unblock
	switch n.What {
	case WaitSpacelift:
		return []Unblock{{Who: n.Who, How: "wait"}}
	case WaitLabels:
		for _, p := range s.Policy.Problems {
			all = append(all, Unblock{Who: "anyone who may edit the stack's labels", How: p.Label + ": " + p.Remedy})
		}
		return append(all, inSpacelift)
	case WaitPerson:
		switch {
		case s.Approvals != nil && s.tooFewApprovers() != "":
			all = append(all,
				Unblock{Who: "an operator", How: "give somebody else a token: " + s.tokenCommand()},
				Unblock{Who: "an operator", How: "set selfApproval: true in the stack's profile"})
		case s.Approvals != nil && n.Do == DoHold: // Spacelift does not do what they approved
			all = append(all, Unblock{Who: s.whoApproves(), How: "reject it through Gantry"})
		case s.Approvals != nil:
			all = append(all, Unblock{Who: s.whoApproves(), How: "approve it through Gantry (" + approvalsOf(s.Approvals.Needed-s.Approvals.Given) + " to go), or reject it"})
		case n.Do == DoHold:
			all = append(all, Unblock{Who: "the operator of Gantry", How: "see why: " + n.Reason})
		}
	case WaitGate:
		switch {
		case s.Gate.Freeze != "":
			all = append(all, Unblock{Who: whoOperates, How: "lift the freeze " + s.Gate.Freeze})
		case s.Gate.HeldByPolicy():
			all = append(all, Unblock{Who: "the operator of Gantry", How: "change the profile: " + s.Gate.Reason})
		case s.Gate.Window != "":
			all = append(all, Unblock{Who: "the operator of Gantry", How: "change the window " + s.Gate.Window})
		}
	case WaitStack:
		if s.Block == nil { // a retry
			return []Unblock{{Who: n.Who, How: s.Retry.Held}}
		}
		all = append(all, Unblock{Who: n.Who, How: howToUnblock(s.Block)})
	case WaitPolicy:
		all = append(all, Unblock{Who: "the operator of Gantry", How: "correct the profile, or wait: " + n.Reason})
	case WaitChain:
		all = append(all, Unblock{Who: n.Who, How: s.parents.How})
	case WaitRetry:
		return []Unblock{{Who: whoOperates, How: s.retryCommand() + ", or stop it"}}
	default:
		return []Unblock{{Who: n.Who, How: n.Then}}
	}
	if s.Ask == nil {
		return all
	}
	return append(all, inSpacelift)
}

// tokenCommand makes a token of somebody who may approve the run.
func (s *Situation) tokenCommand() string {
	command := "gantry token create NAME --role approver"
	if group := s.Policy.Approvers.Value; group != "" {
		command += " --group " + group
	}
	return command
}

// retryable reports whether a person may ask Gantry to try the failed run again.
func (s *Situation) retryable() bool {
	return s.State == spacelift.RunStateFailed && s.Managed && !s.Retry.underWay() &&
		(s.Type == spacelift.RunTypeTracked || s.Type == spacelift.RunTypeProposed || s.Type == spacelift.RunTypeTask)
}

func (s *Situation) retryCommand() string {
	return "retry it: gantry runs retry " + s.Run.String()
}

// maxNext bounds the steps that an explanation lists.
const maxNext = 5

// upcoming lists the steps that happen if nobody acts.
func (s *Situation) upcoming(n Next) []NextStep {
	var all []NextStep
	switch {
	case n.What == WaitPerson && n.Phase == PhaseWaiting:
		for _, d := range s.schedule() {
			all = append(all, NextStep{At: d.At, What: s.dueMeans(d)})
		}
	case !n.Until.IsZero():
		all = append(all, NextStep{At: n.Until, What: n.Then})
	case n.Then != "":
		all = append(all, NextStep{What: n.Then})
	}
	if what := s.whatFollows(); what != "" && !s.State.Terminal() {
		all = append(all, NextStep{What: what})
	}
	if d := s.Deadline(); d > 0 && n.What == WaitSpacelift && s.Managed && !s.Entered.Overdue && !s.Entered.At.IsZero() {
		all = append(all, NextStep{At: s.Entered.At.Add(d), What: fmt.Sprintf("Gantry reads the run, and if it is still %s notifies people", s.State)})
	}
	return all[:min(len(all), maxNext)]
}

func (s *Situation) dueMeans(d policy.Deadline) string {
	switch d.Kind {
	case policy.DeadlineRemind:
		return "people are reminded"
	case policy.DeadlineEscalate:
		return "escalation: " + strings.Join(d.Notify, ", ") + " is notified"
	case policy.DeadlineDiscard:
		if s.State != spacelift.RunStateUnconfirmed {
			return "Gantry rejects the run"
		}
		return "Gantry discards the plan"
	case policy.DeadlineTimeout:
		return "people are notified that the time is over; the plan is kept"
	}
	return string(d.Kind)
}

// rulesOf lists the rules that matter for where the run is, in the order they
// were looked at.
func rulesOf(s *Situation) []Rule {
	if s.State == "" {
		return nil
	}
	if !s.Managed {
		return []Rule{{Name: "managed", Value: "false", Origin: policy.OriginDefault, Effect: EffectForbids, Detail: "the stack does not carry " + spacelift.LabelManaged}}
	}
	all := []Rule{{Name: "managed", Value: "true", Origin: spacelift.LabelManaged, Effect: EffectApplies}}
	p := s.Policy
	if s.State == spacelift.RunStateUnconfirmed {
		_, rules := p.AutoConfirms(s.plan())
		all = append(all, rules...)
	}
	if s.Approvals != nil {
		all = append(all, s.approvalRules()...)
	}
	if e := s.Enforcement; e != nil {
		all = append(all, Rule{Name: "enforcement", Value: string(e.Level), Origin: "Spacelift", Effect: EffectApplies, Detail: e.Reason})
	}
	if s.needsApproval && !s.ownReview() {
		all = append(all, Rule{Name: "needsApproval", Value: "true", Origin: "Spacelift", Effect: EffectAsks, Detail: "an approval policy in Spacelift asks for a review"})
	}
	if s.Gate != nil {
		all = append(all, gateRules(*s.Gate, p)...)
	}
	if s.Failure != nil {
		_, rules := s.retryRules()
		all = append(all, rules...)
		if s.Retry.calledOff() {
			all = append(all, Rule{Name: "retry", Value: "called off", Origin: cmp.Or(s.Retry.By, "Gantry"), Effect: EffectForbids, Detail: s.Retry.Reason})
		}
	}
	return addOverruled(all, p.Overruled)
}

// addOverruled adds to each rule the values of its setting that have no effect.
func addOverruled(rules []Rule, all []policy.Overruled) []Rule {
	for i := range rules {
		for _, o := range all {
			if o.Setting == rules[i].Name {
				rules[i].Overruled = append(rules[i].Overruled, o)
			}
		}
	}
	return rules
}

// approvalRules lists the rules about people's decisions.
func (s *Situation) approvalRules() []Rule {
	p, effect := s.Policy, EffectAsks
	if own := s.demands()[0]; own.missing() <= 0 {
		effect = EffectAllows
	}
	all := []Rule{{Name: "approvals", Value: strconv.Itoa(p.Approvals.Value), Origin: p.Approvals.Origin, Effect: effect, Detail: fmt.Sprintf("%d given", len(s.demands()[0].given))}}
	if p.Approvers.Value != "" {
		all = append(all, Rule{Name: "approvers", Value: p.Approvers.Value, Origin: p.Approvers.Origin, Effect: EffectApplies, Detail: "only this group decides"})
	}
	if !p.SelfApproval.Value {
		all = append(all, Rule{
			Name: "selfApproval", Value: "false", Origin: p.SelfApproval.Origin, Effect: EffectApplies,
			Detail: "who triggered the run, asked for it as a retry, or wrote its commit does not count",
		})
	}
	if p.ApprovalTimeout.Value > 0 {
		all = append(all, Rule{
			Name: "approvalTimeout", Value: p.ApprovalTimeout.Value.String(), Origin: p.ApprovalTimeout.Origin, Effect: EffectApplies,
			Detail: "then: " + string(p.OnTimeout.Value),
		})
	}
	return all
}

// gateRules lists the freezes and windows at a gate.
func gateRules(gate policy.Gate, p policy.Policy) (all []Rule) {
	effect := EffectAllows
	var shut []string
	for _, c := range gate.Closed {
		if c.Freeze != "" {
			all = append(all, Rule{Name: "freeze", Value: c.Freeze, Origin: "declared by " + cmp.Or(c.DeclaredBy, "somebody"), Effect: EffectForbids, Detail: c.Reason})
			continue
		}
		if c.Setting != "" {
			all = append(all, Rule{Name: c.Setting, Value: "true", Origin: cmp.Or(p.Profile.Value, "the policy"), Effect: EffectForbids, Detail: c.Reason})
			continue
		}
		effect, shut = EffectForbids, append(shut, c.Reason)
	}
	if gate.Freeze == "" || len(p.Windows.Value) > 0 {
		all = append(all, Rule{
			Name: "windows", Value: cmp.Or(strings.Join(p.Windows.Value, ", "), "none"), Origin: p.Windows.Origin, Effect: effect, Detail: strings.Join(shut, "; "),
		})
	}
	return all
}
