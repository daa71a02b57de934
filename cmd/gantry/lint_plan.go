package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// planFile is a plan in a file: what terraform show -json prints of one, or resources
// as gantry runs resources -o json prints them, with what else expressions may ask for.
type planFile struct {
	Changes []struct {
		Address         string `json:"address"`
		PreviousAddress string `json:"previous_address"`
		Change          struct {
			Actions   []string        `json:"actions"`
			Importing json.RawMessage `json:"importing"`
		} `json:"change"`
	} `json:"resource_changes"`

	Resources []spacelift.Resource `json:"resources"`
	Complete  *bool                `json:"complete"` // missing: yes

	Run    struct{ Type, Branch, TriggeredBy string } `json:"run"`
	Stack  struct{ ID, Name string }                  `json:"stack"`
	Commit spacelift.Commit                           `json:"commit"`
	Drift  bool                                       `json:"drift"`
}

// maxPlanFile bounds the size of a plan in a file.
const maxPlanFile = 256 << 20

// readPlan reads a plan with the labels of its stack.
func readPlan(name string, labels []string) (spacelift.PlannedResources, error) {
	plan := spacelift.PlannedResources{Complete: true}
	f, err := os.Open(name)
	if err != nil {
		return plan, fmt.Errorf("read plan: %w", err)
	}
	defer func() { _ = f.Close() }()
	var in planFile
	if err := json.NewDecoder(io.LimitReader(f, maxPlanFile)).Decode(&in); err != nil {
		return plan, fmt.Errorf("read plan %s: %w; give what terraform show -json or gantry runs resources -o json prints", name, err)
	}
	if in.Changes == nil && in.Resources == nil {
		return plan, fmt.Errorf("read plan %s: it has neither resource_changes nor resources; give what terraform show -json or gantry runs resources -o json prints", name)
	}
	for _, r := range in.Resources {
		r.Change = spacelift.ParseChange(string(r.Change))
		plan.Resources = append(plan.Resources, r)
	}
	if in.Complete != nil {
		plan.Complete = *in.Complete
	}
	for _, c := range in.Changes {
		r := spacelift.Resource{Address: c.Address, PreviousAddress: c.PreviousAddress, Change: changeOf(c.Change.Actions)}
		switch {
		case r.Change == spacelift.ChangeNone && len(c.Change.Importing) > 0 && string(c.Change.Importing) != "null":
			r.Change = spacelift.ChangeImport
		case r.Change == spacelift.ChangeNone && r.PreviousAddress != "":
			r.Change = spacelift.ChangeMove
		}
		if r.Change != spacelift.ChangeNone {
			plan.Resources = append(plan.Resources, r)
		}
	}
	spacelift.SortResources(plan.Resources)
	plan.Run = spacelift.Run{
		Type: spacelift.RunType(in.Run.Type), Branch: in.Run.Branch, TriggeredBy: in.Run.TriggeredBy, Commit: in.Commit, DriftDetection: in.Drift,
		Ref: spacelift.RunRef{Stack: spacelift.StackID(in.Stack.ID)}, StackName: in.Stack.Name, StackLabels: labels, Delta: counted(plan.Resources),
	}
	if plan.Run.Type == "" {
		plan.Run.Type = spacelift.RunTypeTracked
	}
	return plan, nil
}

// changeOf reads the actions of a change as terraform show -json lists them
// (https://developer.hashicorp.com/terraform/internals/json-format#change-representation).
func changeOf(actions []string) spacelift.Change {
	switch {
	case slices.Contains(actions, "delete") && slices.Contains(actions, "create"):
		return spacelift.ChangeReplace
	case len(actions) == 1:
		return spacelift.ParseChange(actions[0])
	}
	return spacelift.Change(fmt.Sprint(actions))
}

// counted counts changes as Terraform does: a replacement adds and deletes.
func counted(resources []spacelift.Resource) *spacelift.Delta {
	d := &spacelift.Delta{}
	for _, r := range resources {
		switch r.Change {
		case spacelift.ChangeAdd:
			d.Added++
		case spacelift.ChangeUpdate:
			d.Changed++
		case spacelift.ChangeDelete:
			d.Deleted++
		case spacelift.ChangeReplace:
			d.Added, d.Deleted = d.Added+1, d.Deleted+1
		}
	}
	return d
}

// lintPlan tries a policy on a plan, and prints which rules apply and what Gantry would
// do.
func lintPlan(w *output.Printer, rules *policy.Definitions, p policy.Policy, plan spacelift.PlannedResources, at time.Time) error {
	d := plan.Run.Delta
	fmt.Fprintf(w, "\nThe plan: %d to add, %d to change, %d to delete.\n\n", d.Added, d.Changed, d.Deleted)
	verdicts := rules.Judge(p, plan, at)
	alone, considered := p.AutoConfirms(policy.PlanFacts{Type: plan.Run.Type, Drift: plan.Run.DriftDetection, Delta: d, Verdicts: verdicts})
	t := w.Table([]output.Column{{Title: "RULE"}, {Title: "VALUE", Wraps: true}, {Title: "FROM", Wraps: true}, {Title: "EFFECT"}, {Wraps: true}})
	for _, r := range considered {
		t.Row(r.Name, r.Value, r.Origin, string(r.Effect), r.Detail)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if verdicts != nil && verdicts.Trouble != "" {
		return errors.New("Gantry would hold the plan: " + output.Clean(verdicts.Trouble))
	}
	switch {
	case alone:
		fmt.Fprintln(w, "Gantry confirms the plan alone.")
	case p.Approvals.Value == 0 && (verdicts == nil || len(verdicts.Required) == 0):
		fmt.Fprintln(w, "Gantry counts no approvals: people confirm or discard the plan in Spacelift.")
	default:
		fmt.Fprintln(w, "Gantry confirms the plan after these approvals, of one person each:")
		if n := p.Approvals.Value; n > 0 {
			group := "anyone whose token may approve"
			if p.Approvers.Value != "" {
				group = p.Approvers.Value
			}
			fmt.Fprintf(w, "  %d of %s: the stack's own (%s)\n", n, output.Clean(group), output.Clean(p.Approvals.Origin))
		}
		if verdicts != nil {
			for _, r := range verdicts.Required {
				fmt.Fprintln(w, "  "+output.Clean(r.String()))
			}
		}
	}
	if verdicts != nil {
		for _, why := range verdicts.Holds {
			fmt.Fprintln(w, "It confirms nothing meanwhile: "+output.Clean(why))
		}
	}
	return nil
}
