package deploy_test

import (
	"testing"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func TestReaches(t *testing.T) {
	spaces := []spacelift.Space{
		{ID: "root"},
		{ID: "prod", Parent: "root", Inherits: true},
		{ID: "prod-eu", Parent: "prod", Inherits: true},
		{ID: "island", Parent: "root"},
		{ID: "beach", Parent: "island", Inherits: true},
		{ID: "ring-a", Parent: "ring-b", Inherits: true},
		{ID: "ring-b", Parent: "ring-a", Inherits: true},
	}
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"root", "root", true},
		{"root", "prod", true},
		{"root", "prod-eu", true},
		{"prod", "prod-eu", true},
		{"prod", "root", false},
		{"root", "island", false},
		{"root", "beach", false},
		{"island", "beach", true},
		{"root", "unseen", false},
		{"root", "ring-a", false},
	} {
		if got := deploy.Reaches(spaces, tt.from, tt.to); got != tt.want {
			t.Errorf("%s reaches %s: %t, want %t", tt.from, tt.to, got, tt.want)
		}
	}
}

// What we say about reach is what Spacelift's routing does.
func TestReachIsWhatRoutes(t *testing.T) {
	r := newRig(t)
	for _, s := range []simulator.Space{
		{ID: "prod", Parent: "root", InheritEntities: true}, {ID: "prod-eu", Parent: "prod", InheritEntities: true},
		{ID: "island", Parent: "root"}, {ID: "beach", Parent: "island", InheritEntities: true},
	} {
		r.ok(r.AddSpace(s))
	}
	w := r.wanted()
	w.Space = "root"
	r.setUp(w)
	spaces, err := r.admin.Spaces(t.Context())
	r.ok(err)
	for _, s := range spaces {
		stack := spacelift.StackID("in-" + s.ID)
		r.ok(r.AddStack(simulator.Stack{ID: stack, Space: s.ID, Labels: []string{"gantry:managed"}}))
		before := r.hook.count()
		r.push(stack)
		if came := r.hook.count() > before; came != deploy.Reaches(spaces, "root", s.ID) {
			t.Errorf("space %s: notifications came: %t", s.ID, came)
		}
	}
}
