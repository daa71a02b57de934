package expression

import (
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// Facts are the variables of an expression.
type Facts struct {
	Plan      Plan
	Resources []Resource
	Run       Run
	Stack     Stack
	Commit    Commit
	Time      time.Time
	Drift     bool // the run detects or repairs drift

	complete bool // no resource is left out
	counted  bool // the plan's counts are known
	covered  bool // the resources are at least as many as the counts say
}

// Plan counts the changes of a plan.
type Plan struct {
	Added     int `cel:"added"`
	Changed   int `cel:"changed"`
	Deleted   int `cel:"deleted"`
	Total     int `cel:"total"`     // of the three
	Resources int `cel:"resources"` // that the stack manages
}

// Resource is a resource that a plan changes. Module, Type and Name are parts of the
// address.
type Resource struct {
	Address         string `cel:"address"`
	PreviousAddress string `cel:"previousAddress"`
	Change          string `cel:"change"`
	Destroys        bool   `cel:"destroys"` // it is deleted or replaced
	Module          string `cel:"module"`   // such as module.network.module.subnets, without indexes; empty at the top
	Type            string `cel:"type"`
	Name            string `cel:"name"`

	parsed bool // the address is one of Terraform's
}

// Run is the run that made a plan.
type Run struct {
	Account     string `cel:"account"`
	ID          string `cel:"id"`
	Type        string `cel:"type"`
	Branch      string `cel:"branch"`
	TriggeredBy string `cel:"triggeredBy"`
}

// Stack is the run's stack.
type Stack struct {
	ID     string   `cel:"id"`
	Name   string   `cel:"name"`
	Labels []string `cel:"labels"`
}

// Commit is the commit that a run works on.
type Commit struct {
	Hash        string `cel:"hash"`
	Message     string `cel:"message"`
	AuthorLogin string `cel:"authorLogin"`
	AuthorName  string `cel:"authorName"`
}

// FactsOf returns the facts of a plan at a time. Texts are composed as those of an
// expression are.
func FactsOf(planned spacelift.PlannedResources, at time.Time) Facts {
	r := planned.Run
	f := Facts{
		Run:    Run{Account: string(r.Ref.Account), ID: string(r.Ref.Run), Type: string(r.Type), Branch: decide.Composed(r.Branch), TriggeredBy: decide.Composed(r.TriggeredBy)},
		Stack:  Stack{ID: string(r.Ref.Stack), Name: decide.Composed(r.StackName)},
		Commit: Commit{Hash: r.Commit.Hash, Message: decide.Composed(r.Commit.Message), AuthorLogin: decide.Composed(r.Commit.AuthorLogin), AuthorName: decide.Composed(r.Commit.AuthorName)},
		Time:   at.UTC(), Drift: r.DriftDetection, complete: planned.Complete,
	}
	for _, label := range r.StackLabels {
		f.Stack.Labels = append(f.Stack.Labels, decide.Composed(label))
	}
	if d := r.Delta; d != nil {
		f.Plan = Plan{Added: d.Added, Changed: d.Changed, Deleted: d.Deleted, Total: d.Added + d.Changed + d.Deleted, Resources: d.Resources}
		f.counted, f.covered = true, d.Covered(planned.Resources)
	}
	for _, resource := range planned.Resources {
		f.Resources = append(f.Resources, resourceOf(resource))
	}
	return f
}

func resourceOf(r spacelift.Resource) Resource {
	resource := Resource{Address: decide.Composed(r.Address), PreviousAddress: decide.Composed(r.PreviousAddress), Change: string(r.Change), Destroys: r.Change.Destroys()}
	resource.Module, resource.Type, resource.Name, resource.parsed = parse(resource.Address)
	return resource
}
