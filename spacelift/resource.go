package spacelift

import (
	"cmp"
	"slices"
	"strings"
)

// Resource is a resource that a plan changes.
type Resource struct {
	Address         string `json:"address"`
	PreviousAddress string `json:"previousAddress,omitempty"` // of a resource that moves; empty for others
	Change          Change `json:"change"`
}

// PlannedResources are the resources that a run's plan changes.
type PlannedResources struct {
	Run       Run        // in the same answer; without the stack's brakes
	Resources []Resource // in the order of SortResources
	Complete  bool       // false when there are more than Gantry reads
}

// Change is the effect of a plan on a resource, in one word. A change that this version
// doesn't know keeps Spacelift's own word: see Known.
type Change string

// The changes.
const (
	ChangeAdd     Change = "add"
	ChangeUpdate  Change = "change"
	ChangeDelete  Change = "delete"
	ChangeReplace Change = "replace" // deleted and added, in either order
	ChangeImport  Change = "import"
	ChangeForget  Change = "forget" // it leaves the state and is kept
	ChangeMove    Change = "move"   // it has another address, and nothing else changes
	ChangeNone    Change = "none"   // it is only read, or stays as it is
)

// Changes lists them all, those that destroy something first.
var Changes = []Change{ChangeDelete, ChangeReplace, ChangeForget, ChangeUpdate, ChangeAdd, ChangeImport, ChangeMove, ChangeNone}

// ParseChange reads the word by which Spacelift names a change.
//
// Assumption: Spacelift documents these words for the input of notification policies
// (added, changed, deleted, create-Before-destroy-replaced and so on) and not for
// changesV3. Case and anything around the stem are ignored.
func ParseChange(word string) Change {
	lower := strings.ToLower(word)
	for _, stem := range []struct {
		text   string
		change Change
	}{
		{"replac", ChangeReplace}, {"delet", ChangeDelete}, {"destroy", ChangeDelete}, {"forget", ChangeForget}, {"import", ChangeImport},
		{"no-op", ChangeNone}, {"noop", ChangeNone}, {"read", ChangeNone}, {"move", ChangeMove},
		{"add", ChangeAdd}, {"create", ChangeAdd}, {"chang", ChangeUpdate}, {"update", ChangeUpdate},
	} {
		if strings.Contains(lower, stem.text) {
			return stem.change
		}
	}
	return Change(word)
}

// Known reports whether this version knows the change. What an unknown one does to a
// resource can't be said.
func (c Change) Known() bool { return slices.Contains(Changes, c) }

// Destroys reports whether something that exists is deleted or replaced.
func (c Change) Destroys() bool { return c == ChangeDelete || c == ChangeReplace }

// SortResources puts unknown changes first, then deletes and replacements, then the
// others, each by address.
func SortResources(all []Resource) {
	slices.SortFunc(all, func(a, b Resource) int {
		return cmp.Or(cmp.Compare(slices.Index(Changes, a.Change), slices.Index(Changes, b.Change)), strings.Compare(a.Address, b.Address))
	})
}

// Covered reports whether a list of resources has at least the changes that the plan
// counts: a list that lacks some can't show that a plan spares something.
//
// Assumption: whether Spacelift counts a replacement as Terraform does, as an add and
// a delete, is not documented, so a replacement may count as any of the three.
func (d Delta) Covered(by []Resource) bool {
	var add, change, remove, replace, other int
	for _, r := range by {
		switch r.Change {
		case ChangeAdd:
			add++
		case ChangeUpdate:
			change++
		case ChangeDelete:
			remove++
		case ChangeReplace:
			replace++
		case ChangeNone:
		default: // Terraform counts an import or a move that changes something twice
			other++
		}
	}
	return d.Added <= add+replace+other && d.Changed <= change+replace+other && d.Deleted <= remove+replace+other
}
