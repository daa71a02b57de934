package chain

import (
	"fmt"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Preview says which stacks the end of a run would release.
type Preview struct {
	Steps    []Step      // the stacks that follow, parents before their followers
	Excluded []Exclusion // the stacks that follow and that no chain releases
}

// Step is a stack that follows.
type Step struct {
	Stack spacelift.StackID
	After []spacelift.StackID // the stacks of the chain that it waits for

	// Stage counts the rounds of triggers, if every run takes equally long: 1 for the
	// stacks that follow directly. 0 means that the chain never reaches the stack.
	Stage int

	Released bool
	Reason   string // what releases it, or why nothing does, as a sentence
}

// Previewed is a stack as it is now, with its policy. Gantry's own lock must have been
// dropped.
type Previewed struct {
	spacelift.Stack
	Policy policy.Policy
}

// PreviewOf returns what a finished run of the root would release, among all managed
// stacks of an account: it plays a chain in which every run that Gantry triggers finishes.
func PreviewOf(root spacelift.StackID, all map[spacelift.StackID]Previewed) Preview {
	following := map[spacelift.StackID]Following{}
	for id, s := range all {
		following[id] = Following{After: ParentsOf(id, s.Policy.After.Value)}
	}
	graph := GraphOf(root, following)
	p := preview{all: all, at: time.Unix(0, 0).UTC(), stage: make([]int, graph.Size+1)}
	p.chain = New(spacelift.RunRef{Account: "preview", Stack: root, Run: "preview"}, p.at)
	p.finish(&p.chain.Nodes[0])
	p.chain.TakeGraph(p.at, graph)
	for stage := 1; p.play(stage); stage++ {
	}
	return Preview{Steps: p.steps(), Excluded: graph.Refused}
}

// preview plays a chain.
type preview struct {
	all   map[spacelift.StackID]Previewed
	chain Chain
	at    time.Time
	stage []int // of each node
}

// play triggers the stacks whose turn has come. It reports whether there were any.
func (p *preview) play(stage int) bool {
	turn := Decide(&p.chain, p.at).Trigger
	for _, i := range turn {
		p.stage[i] = stage
		n := &p.chain.Nodes[i]
		if why, _ := WhyNotTriggered(managed.ToFollow, p.all[n.Stack].Stack, p.all[n.Stack].Policy); why != "" {
			p.chain.RecordFailure(p.at, n.Stack, why)
			continue
		}
		n.Runs = []memberRun{{Run: "preview"}}
		p.finish(n)
	}
	return len(turn) > 0
}

// finish lets the run of a node finish.
func (p *preview) finish(n *member) { n.Runs[0].State = spacelift.RunStateFinished }

func (p *preview) steps() []Step {
	conditions := p.chain.conditions()
	steps := make([]Step, 0, len(p.chain.Nodes)-1)
	for i := range p.chain.Nodes {
		n := &p.chain.Nodes[i]
		if i == 0 {
			continue
		}
		s := Step{Stack: n.Stack, After: p.chain.Parents(n), Stage: p.stage[i], Released: conditions[i].State == NodeFinished}
		switch conditions[i].State {
		case NodeFinished:
			s.Reason = "it is triggered when " + finished(s.After)
		case NodeHeld:
			s.Reason = n.Backoff.Reason
		default:
			s.Reason = p.chain.waitsFor(n, conditions)
		}
		steps = append(steps, s)
	}
	return steps
}

func finished(stacks []spacelift.StackID) string {
	names := make([]string, len(stacks))
	for i, s := range stacks {
		names[i] = string(s)
	}
	have := "has"
	if len(names) > 1 {
		have = "have"
	}
	return fewNames(names) + " " + have + " finished"
}

// Summary returns how much would be released, as a sentence.
func (p Preview) Summary(root spacelift.StackID) string {
	released, excluded := 0, 0
	for _, s := range p.Steps {
		if s.Released {
			released++
		}
	}
	for _, e := range p.Excluded {
		excluded += len(e.Stacks) + e.More
	}
	all := len(p.Steps) + excluded
	switch {
	case all == 0:
		return fmt.Sprintf("no stack follows %s, so a finished run releases nothing", root)
	case all == 1 && released == 1:
		return "the only stack that follows would be released"
	case all == 1:
		return "the only stack that follows would not be released"
	}
	return fmt.Sprintf("%d of %d stacks that follow would be released", released, all)
}
