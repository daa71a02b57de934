package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// Presence says whether an account has a stack.
type Presence int

// The presences. The zero value is for stacks that nobody looked for.
const (
	PresenceUnknown Presence = iota
	PresenceMissing
	PresenceUnmanaged // it is there without gantry:managed
	PresenceManaged
)

// Known lists the stacks and people, of an account and a configuration, that labels
// refer to.
type Known struct {
	// Stacks holds the stacks that were looked for or listed. All others are
	// PresenceUnknown, which is no problem.
	Stacks map[spacelift.StackID]Presence

	// Approvers are the people whose tokens may approve; nil if that is not known.
	Approvers []decide.Person
}

// References returns the references of a policy that the account or the configuration
// lacks, and which have no effect: stacks that it follows, and people who approve.
// Unlike Problems they don't keep Gantry from confirming.
func (p Policy) References(known Known) []Problem {
	var dangling []Problem
	for _, parent := range p.After.Value {
		if problem, remedy := known.parent(spacelift.StackID(parent)); problem != "" {
			dangling = append(dangling, Problem{Label: p.afterLabel(parent), Problem: problem, Remedy: remedy})
		}
	}
	if problem, remedy := known.approvers(p); problem != "" {
		dangling = append(dangling, Problem{Label: p.Approvers.Origin, Problem: problem, Remedy: remedy})
	}
	return dangling
}

// Parents returns the stacks that policies follow, each once, sorted.
func Parents(policies ...Policy) []spacelift.StackID {
	var all []spacelift.StackID
	for _, p := range policies {
		for _, parent := range p.After.Value {
			all = append(all, spacelift.StackID(parent))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// afterLabel returns the label that names a parent.
func (p Policy) afterLabel(parent string) string {
	for label := range strings.SplitSeq(p.After.Origin, ", ") {
		if label == spacelift.LabelPrefix+"after="+parent {
			return label
		}
	}
	for label := range strings.SplitSeq(p.After.Origin, ", ") {
		if stacks, ok := strings.CutPrefix(label, spacelift.LabelDependsOn); ok {
			for stack := range strings.SplitSeq(stacks, ",") {
				if strings.TrimSpace(stack) == parent {
					return label
				}
			}
		}
	}
	return p.After.Origin
}

func (k Known) parent(id spacelift.StackID) (problem, remedy string) {
	switch k.Stacks[id] {
	case PresenceMissing:
		return fmt.Sprintf("there is no stack %q, or Gantry's API key may not see it: this stack is never triggered after it", id),
			"name a stack by its id" + k.near(id) + ", or remove the label"
	case PresenceUnmanaged:
		return fmt.Sprintf("stack %q is not managed, so Gantry does not see its runs finish: this stack is never triggered after it", id),
			"label it " + spacelift.LabelManaged + ", name another" + k.near(id) + ", or remove the label"
	}
	return "", ""
}

// near guesses the managed stack that is meant.
func (k Known) near(id spacelift.StackID) string {
	var managed []string
	for _, other := range slices.Sorted(maps.Keys(k.Stacks)) {
		if k.Stacks[other] == PresenceManaged {
			managed = append(managed, string(other))
		}
	}
	if name, ok := Nearest(string(id), managed); ok {
		return fmt.Sprintf(" (meant %s?)", name)
	}
	return ""
}

// approvers checks whether enough people belong to the group that approves.
func (k Known) approvers(p Policy) (problem, remedy string) {
	need, group := p.Approvals.Value, p.Approvers.Value
	if k.Approvers == nil || group == "" || p.confirmsAll() {
		return "", ""
	}
	people, groups := map[string]bool{}, map[string]bool{}
	for _, a := range k.Approvers {
		for _, g := range a.Groups {
			groups[g] = true
		}
		if a.In(group) {
			people[decide.NameKey(a.Name)] = true
		}
	}
	switch {
	case len(people) >= need:
		return "", ""
	case len(people) == 0:
		near := ""
		if name, ok := Nearest(group, slices.Sorted(maps.Keys(groups))); ok {
			near = fmt.Sprintf(" (meant %s?)", name)
		}
		return fmt.Sprintf("nobody with a token that may approve belongs to the group %q, so nobody can approve", group),
			"name another group" + near + ", or give tokens this group"
	}
	return fmt.Sprintf("it takes %d people of the group %q to approve, and %d have a token that may", need, group, len(people)),
		"give more people of the group tokens with the role approver, or ask for fewer approvals"
}
