package policy

import (
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// Enforcement is the worth of a stack's policy in Spacelift: whether Spacelift itself
// refuses to apply a plan that Gantry has not approved.
type Enforcement struct {
	Level  EnforcementLevel `json:"level"`
	Reason string           `json:"reason"` // a sentence: the policy that holds a plan back, or why none does

	// Asks says that Gantry's approval policy is attached and no other approval policy
	// is, so that a review that Spacelift asks for is Gantry's own.
	Asks bool `json:"asks,omitempty"`
}

// EnforcementLevel is the worth of a policy in one word.
type EnforcementLevel string

// The levels.
const (
	Enforced EnforcementLevel = "enforced" // Spacelift refuses what Gantry has not approved
	Advisory EnforcementLevel = "advisory" // plans wait for Gantry, and people may confirm them in Spacelift
	Void     EnforcementLevel = "void"     // Spacelift applies plans without asking, or Gantry can't act
)

// EnforcementLevels lists them all.
var EnforcementLevels = []EnforcementLevel{Enforced, Advisory, Void}

// EnforcementOf judges a stack by its settings and attached policies; nil if they
// aren't known. It takes an attached policy for Gantry's by its name: a person who may
// change policies in Spacelift can make another of that name, which Reconcile and
// gantry doctor find by its text.
func EnforcementOf(h *spacelift.Hold) *Enforcement {
	if h == nil {
		return nil
	}
	others, approval := h.Named(spacelift.PolicyTypeApproval, spacelift.EnforcingApproval)
	_, plan := h.Named(spacelift.PolicyTypePlan, spacelift.EnforcingPlan)
	e := &Enforcement{Level: Enforced, Asks: approval && len(others) == 0}
	switch {
	case !h.CanWrite:
		e.Level, e.Reason = Void, "Gantry's API key may not act on the stack's runs in Spacelift"
	case h.Autodeploy && !plan:
		e.Level, e.Reason = Void, fmt.Sprintf("autodeploy is on and the policy %s is not attached, so Spacelift applies plans without asking anyone", spacelift.EnforcingPlan)
	case !approval:
		e.Level, e.Reason = Advisory, fmt.Sprintf("the policy %s is not attached, so people may confirm in Spacelift whatever Gantry decides", spacelift.EnforcingApproval)
	case len(others) > 0:
		e.Level, e.Reason = Advisory, fmt.Sprintf("other approval policies are attached (%s), and Spacelift doesn't document how several combine: one may approve what Gantry has not", names(others))
	default:
		e.Reason = fmt.Sprintf("the policy %s lets Spacelift confirm a plan only after Gantry's review", spacelift.EnforcingApproval)
	}
	return e
}

func names(all []spacelift.AttachedPolicy) string {
	list := make([]string, len(all))
	for i, p := range all {
		list[i] = p.Name
	}
	return strings.Join(list, ", ")
}

// Promises lists the settings by which a policy promises that something happens to no
// plan before people or time allow it; empty for a policy that promises nothing.
func (p Policy) Promises() (all []Value) {
	for _, v := range p.Values() {
		switch {
		case v.Name == "approvals" && p.Approvals.Value > 0 && p.AsksPeople(),
			v.Name == "windows" && len(p.Windows.Value) > 0,
			v.Name == "confirm" && p.Confirm.Value == ConfirmNoDeletes,
			v.Name == "confirm" && p.Confirm.Value == ConfirmManual && v.Origin != OriginDefault,
			strings.HasPrefix(v.Name, "limits."), strings.HasSuffix(v.Name, "When"):
			all = append(all, v)
		}
	}
	return all
}

// PolicyTexts says what is wrong with the texts of the two enforcing policies; empty
// for one that is as Gantry wrote it.
type PolicyTexts struct{ Approval, Plan string }

// UnreadTexts returns the texts of policies that Gantry can't read: only their text proves
// that they are Gantry's.
func UnreadTexts() PolicyTexts {
	unread := func(name string) string {
		return "Gantry's API key can't read the policy " + name + ", so nothing shows what it allows"
	}
	return PolicyTexts{Approval: unread(spacelift.EnforcingApproval), Plan: unread(spacelift.EnforcingPlan)}
}

// EnforcementBy judges a stack by its settings, its attached policies and their texts.
func EnforcementBy(h spacelift.Hold, texts PolicyTexts) Enforcement {
	e := *EnforcementOf(&h)
	switch {
	case e.Level == Void:
	case h.Autodeploy && texts.Plan != "":
		e.Level, e.Reason = Void, "autodeploy is on, and "+texts.Plan
	case e.Level == Enforced && texts.Approval != "":
		e.Level, e.Reason = Advisory, texts.Approval
	}
	return e
}
