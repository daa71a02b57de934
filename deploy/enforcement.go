package deploy

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

//go:embed terraform/gantry-approval.rego
var approvalPolicy string

// PlanPolicy is the PLAN policy that makes autodeploying stacks wait for Gantry.
//
//go:embed terraform/gantry-plan.rego
var PlanPolicy string

// ApprovalPolicy returns the APPROVAL policy by which only the reviews of these API
// keys approve a plan. Keys are named as Spacelift names them, "api::<key id>".
func ApprovalPolicy(keys ...string) string {
	list, err := json.Marshal(keys)
	if err != nil {
		panic(err) // strings are always JSON
	}
	return strings.Replace(approvalPolicy, "${keys}", string(list), 1)
}

// Marker is the line by which Gantry recognizes a policy that it wrote.
const Marker = "# Gantry's policy: gantry setup and Gantry's Terraform module overwrite it."

// enforcingPolicies returns the two policies that make Gantry's decisions binding.
func enforcingPolicies(space string, reviewers []string) []ownPolicy {
	own := func(name, ofType, body, description, why string) ownPolicy {
		return ownPolicy{spacelift.PolicyInput{
			Name: name, Type: ofType, Engine: spacelift.PolicyEngineRegoV1, Body: body, Description: description,
			Labels: []string{"autoattach:" + spacelift.LabelManaged}, Space: space,
		}, why}
	}
	return []ownPolicy{
		own(spacelift.EnforcingApproval, spacelift.PolicyTypeApproval, ApprovalPolicy(reviewers...),
			"Spacelift confirms plans of managed stacks only after Gantry's review.",
			"Spacelift refuses to confirm plans of managed stacks before Gantry has reviewed them"),
		own(spacelift.EnforcingPlan, spacelift.PolicyTypePlan, PlanPolicy,
			"Makes managed stacks with autodeploy wait for Gantry's review.",
			"managed stacks with autodeploy wait for Gantry too"),
	}
}

// compareEnforcement compares the two policies that make Gantry's decisions binding.
func (p *Plan) compareEnforcement(w Wanted, f Found) error {
	reviewers := w.Reviewers
	if len(reviewers) == 0 {
		reviewers = []string{f.Viewer}
	}
	for _, key := range reviewers {
		if w.Enforce == EnforceOn && !spacelift.IsAPIKey(key) {
			return fmt.Errorf("%q is no API key as Spacelift names them (api::<key id>), so its reviews could not be recognized; name the key that gantry serve uses", key)
		}
	}
	for _, own := range enforcingPolicies(w.Space, reviewers) {
		have := f.hold(own.input.Name)
		switch {
		case have != nil && have.Type != own.input.Type:
			return fmt.Errorf("the name %q belongs to a policy of type %s; rename that one, because stacks name their policies and Gantry finds its own by that", have.Name, have.Type)
		case have == nil && w.Enforce == EnforceOn && !f.Complete:
			return fmt.Errorf("the account has more policies than could be listed, and %s is not among those listed; it may or may not exist", own.input.Name)
		case have == nil && w.Enforce != EnforceOn:
		case w.Enforce == EnforceOff:
			p.removePolicy(*have)
		default:
			if have != nil && w.Enforce == EnforceKeep && len(w.Reviewers) == 0 {
				if keys, ok := ReviewersOf(have.Body); ok {
					own.input.Body = ApprovalPolicy(keys...) // setup may run with another key than gantry serve
				}
			}
			p.comparePolicy(own, have)
		}
	}
	return nil
}

func (p *Plan) removePolicy(have spacelift.Policy) {
	before := len(p.Changes)
	p.change(ItemPolicyGone, have.Name, "a policy in space "+have.Space, "none", "people may then confirm in Spacelift, whatever Gantry decides")
	if foreign := !strings.Contains(have.Body, Marker); foreign {
		p.mark(before, true)
		p.Changes[before].Old = have.Body
	}
	p.policies = append(p.policies, policyStep{id: have.ID, input: spacelift.PolicyInput{Name: have.Name, Space: have.Space}, remove: true})
}

// hold returns the approval or plan policy with this name or id, or nil.
func (f Found) hold(name string) *spacelift.Policy {
	for _, same := range []func(spacelift.Policy) bool{
		func(p spacelift.Policy) bool { return p.Name == name },
		func(p spacelift.Policy) bool { return p.ID == name },
	} {
		if i := slices.IndexFunc(f.Holds, same); i >= 0 {
			return &f.Holds[i]
		}
	}
	return nil
}

// ReviewersOf returns the API keys whose reviews an approval policy takes; ok is
// false if the policy isn't this version's.
func ReviewersOf(body string) (keys []string, ok bool) {
	before, after, _ := strings.Cut(approvalPolicy, "${keys}")
	rest, ok := strings.CutPrefix(normal(body), normal(before)+" ")
	if !ok {
		return nil, false
	}
	text, ok := strings.CutSuffix(rest, "\n"+strings.TrimLeft(normal(after), "\n"))
	return keys, ok && json.Unmarshal([]byte(strings.TrimSpace(text)), &keys) == nil
}

func normal(s string) string { return strings.Join(lines(s), "\n") }

// PolicyReader reads the policies of an account and the name of the API key.
type PolicyReader interface {
	Policies(ctx context.Context, ofTypes ...string) (spacelift.Listing[spacelift.Policy], error)
	Viewer(ctx context.Context) (spacelift.Viewer, error)
}

// ReadTexts checks the texts of the enforcing policies, if any of the stacks has one.
// It costs a call for the key and one for every 50 policies.
func ReadTexts(ctx context.Context, api PolicyReader, holds ...spacelift.Hold) (policy.PolicyTexts, error) {
	if !slices.ContainsFunc(holds, func(h spacelift.Hold) bool {
		_, approval := h.Named(spacelift.PolicyTypeApproval, spacelift.EnforcingApproval)
		return approval
	}) {
		return policy.PolicyTexts{}, nil
	}
	viewer, err := api.Viewer(ctx)
	if err != nil {
		return policy.PolicyTexts{}, err
	}
	found, err := api.Policies(ctx, spacelift.PolicyTypeApproval, spacelift.PolicyTypePlan)
	if err != nil {
		return policy.PolicyTexts{}, err
	}
	return TextsOf(found.Items, viewer.ID), nil
}

// TextsOf says what is wrong with the texts of the enforcing policies, for a Gantry with
// this API key. A policy that isn't among those that the key may read is not proven.
func TextsOf(all []spacelift.Policy, key string) policy.PolicyTexts {
	texts, approvalRead, planRead := policy.UnreadTexts(), false, false
	for _, p := range all {
		switch {
		case p.Name == spacelift.EnforcingPlan && p.Type == spacelift.PolicyTypePlan:
			said(&texts.Plan, &planRead, planProblem(p))
		case p.Name == spacelift.EnforcingApproval && p.Type == spacelift.PolicyTypeApproval:
			said(&texts.Approval, &approvalRead, approvalProblem(p, key))
		}
	}
	return texts
}

// said replaces what is wrong with a policy by that with one more of its name. Of several,
// all must be right.
func said(text *string, read *bool, problem string) {
	if !*read || problem != "" {
		*text = problem
	}
	*read = true
}

func planProblem(p spacelift.Policy) string {
	if firstDifference(p.Body, PlanPolicy) > 0 {
		return "the text of the policy " + p.Name + " isn't this version's"
	}
	return ""
}

func approvalProblem(p spacelift.Policy, key string) string {
	switch keys, ok := ReviewersOf(p.Body); {
	case !ok:
		return "the text of the policy " + p.Name + " isn't this version's, so it may approve what Gantry has not"
	case !slices.Contains(keys, key):
		return fmt.Sprintf("the policy %s takes the reviews of %s, and Gantry's API key is %s", p.Name, list(keys), key)
	}
	return ""
}
