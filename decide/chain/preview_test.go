package chain_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// stacksOf returns managed stacks with labels besides gantry:managed.
func stacksOf(labels map[spacelift.StackID][]string) map[spacelift.StackID]chain.Previewed {
	all := map[spacelift.StackID]chain.Previewed{}
	for id, l := range labels {
		l = append([]string{spacelift.LabelManaged}, l...)
		all[id] = chain.Previewed{Stack: spacelift.Stack{ID: id, Labels: l}, Policy: (*policy.Definitions)(nil).Resolve(policy.Labelled(l)).Of(id)}
	}
	return all
}

func TestPreview(t *testing.T) {
	all := stacksOf(map[spacelift.StackID][]string{
		"net": nil, "app": {"gantry:after=net"}, "dns": {"gantry:after=net"}, "web": {"gantry:after=app", "gantry:after=dns"},
		"db": {"gantry:after=net"}, "jobs": {"gantry:after=db"}, "odd": {"gantry:after=net", "gantry:approvals=many"},
		"a": {"gantry:after=b", "gantry:after=net"}, "b": {"gantry:after=a"}, "other": {"gantry:after=elsewhere"},
	})
	locked := all["db"]
	locked.Lock = &spacelift.Lock{By: "jane"}
	all["db"] = locked

	var got []string
	p := chain.PreviewOf("net", all)
	for _, s := range p.Steps {
		got = append(got, fmt.Sprintf("%d %t %s after %v: %s", s.Stage, s.Released, s.Stack, s.After, s.Reason))
	}
	want := []string{
		"1 true app after [net]: it is triggered when net has finished",
		"1 false db after [net]: the stack db is held: jane locked the stack in Spacelift",
		"1 true dns after [net]: it is triggered when net has finished",
		`1 false odd after [net]: the label gantry:approvals=many of the stack odd can't be followed: its value is not a number within 1 and 20; write how many people must approve, such as gantry:approvals=2`,
		"0 false jobs after [db]: db is not triggered: the stack db is held: jane locked the stack in Spacelift",
		"2 true web after [app dns]: it is triggered when app and dns have finished",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	excluded := []chain.Exclusion{{Stacks: []spacelift.StackID{"a", "b"}, Reason: "the labels lead in a circle: a → b → a"}}
	if diff := cmp.Diff(excluded, p.Excluded); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
	if got := p.Summary("net"); got != "3 of 8 stacks that follow would be released" {
		t.Errorf("summary %q", got)
	}
	if got := chain.PreviewOf("web", all).Summary("web"); got != "no stack follows web, so a finished run releases nothing" {
		t.Errorf("summary without followers %q", got)
	}
}

// A line of as many stacks as a chain holds has as many stages.
func TestPreviewOfALongLine(t *testing.T) {
	labels := map[spacelift.StackID][]string{"s0": nil}
	for i := range chain.MaxStacks {
		labels[spacelift.StackID(fmt.Sprintf("s%d", i+1))] = []string{fmt.Sprintf("gantry:after=s%d", i)}
	}
	all := stacksOf(labels)
	p := chain.PreviewOf("s0", all)
	if last := p.Steps[len(p.Steps)-1]; len(p.Steps) != chain.MaxStacks || !last.Released || last.Stage != chain.MaxStacks {
		t.Errorf("%d steps, the last %+v", len(p.Steps), last)
	}
}
