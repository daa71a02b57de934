package spacelift_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/spacelift"
)

func TestChangesAreReadWhateverTheirSpelling(t *testing.T) {
	for word, want := range map[string]spacelift.Change{
		"added": spacelift.ChangeAdd, "ADD": spacelift.ChangeAdd, "create": spacelift.ChangeAdd,
		"changed": spacelift.ChangeUpdate, "UPDATED": spacelift.ChangeUpdate,
		"deleted": spacelift.ChangeDelete, "destroy": spacelift.ChangeDelete,
		"destroy-Before-create-replaced": spacelift.ChangeReplace, "create-Before-destroy-replaced": spacelift.ChangeReplace,
		"import": spacelift.ChangeImport, "forget": spacelift.ChangeForget, "moved": spacelift.ChangeMove, "no-op": spacelift.ChangeNone,
	} {
		if got := spacelift.ParseChange(word); got != want || !got.Known() {
			t.Errorf("%s is read as %s, want %s", word, got, want)
		}
	}
	if got := spacelift.ParseChange("transmuted"); got != "transmuted" || got.Known() {
		t.Errorf("an unknown change is read as %q", got)
	}
}

func TestWhatDestroysIsFirst(t *testing.T) {
	all := []spacelift.Resource{
		{Address: "b", Change: spacelift.ChangeAdd}, {Address: "z", Change: spacelift.ChangeReplace}, {Address: "c", Change: spacelift.ChangeDelete},
		{Address: "a", Change: spacelift.ChangeDelete}, {Address: "y", Change: "transmuted"}, {Address: "d", Change: spacelift.ChangeUpdate},
	}
	spacelift.SortResources(all)
	var order []string
	for _, r := range all {
		order = append(order, r.Address)
	}
	if diff := cmp.Diff([]string{"y", "a", "c", "z", "d", "b"}, order); diff != "" {
		t.Errorf("order (-want +got)\n%s", diff)
	}
}

func TestAListThatLacksChangesCoversNoPlan(t *testing.T) {
	replaced := []spacelift.Resource{{Address: "a", Change: spacelift.ChangeReplace}}
	for _, c := range []struct {
		plan spacelift.Delta
		list []spacelift.Resource
		want bool
	}{
		{spacelift.Delta{Added: 1, Deleted: 1}, replaced, true},
		{spacelift.Delta{Changed: 1}, replaced, true},
		{spacelift.Delta{Deleted: 2}, replaced, false},
		{spacelift.Delta{Deleted: 1}, nil, false},
		{spacelift.Delta{}, replaced, true},
		{spacelift.Delta{Changed: 1}, []spacelift.Resource{{Address: "a", Change: spacelift.ChangeNone}}, false},
	} {
		if got := c.plan.Covered(c.list); got != c.want {
			t.Errorf("%v covers %+v: %t, want %t", c.list, c.plan, got, c.want)
		}
	}
}
