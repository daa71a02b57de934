package simulator

import (
	"cmp"
	"context"
	"slices"

	"github.com/graph-gophers/graphql-go"
)

type spaceOut struct {
	ID              graphql.ID
	Name            string
	Description     string
	ParentSpace     *graphql.ID
	InheritEntities bool
	Labels          []string
	AccessLevel     string
}

func (sp *space) out(*Simulator, actor) *spaceOut {
	o := &spaceOut{
		ID: graphql.ID(sp.ID), Name: sp.Name, Description: sp.Description, InheritEntities: sp.InheritEntities,
		Labels: slices.Clone(sp.Labels), AccessLevel: "ADMIN",
	}
	if sp.ID != rootSpace {
		o.ParentSpace = new(graphql.ID(sp.Parent))
	}
	return o
}

func (resolver) Space(ctx context.Context, args idArgs) (*spaceOut, error) {
	return orNull(ctx, found(args.ID, (*Simulator).findSpace, nil))
}

func (resolver) Spaces(ctx context.Context) []*spaceOut { return list(ctx, (*Simulator).sortedSpaces) }

type spaceInput struct {
	Name            string
	Description     *string
	InheritEntities flag
	ParentSpace     graphql.ID
	Labels          lines
}

func (in spaceInput) space(id string) Space {
	return Space{
		ID: id, Name: in.Name, Description: deref(in.Description), InheritEntities: bool(in.InheritEntities),
		Parent: cmp.Or(string(in.ParentSpace), rootSpace), Labels: in.Labels,
	}
}

func (resolver) SpaceCreate(ctx context.Context, args struct{ Input spaceInput }) (*spaceOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*space, error) { return s.addSpace(args.Input.space("")) })
}

func (resolver) SpaceUpdate(ctx context.Context, args struct {
	Space graphql.ID
	Input spaceInput
}) (*spaceOut, error) {
	return answer(ctx, found(args.Space, (*Simulator).findSpace, func(s *Simulator, _ actor, sp *space) error {
		asked := args.Input.space(sp.ID)
		if sp.ID == rootSpace {
			return refuse("the root space can't be changed")
		}
		if _, err := s.findSpace(asked.Parent); err != nil {
			return err
		}
		if s.below(asked.Parent, sp.ID) {
			return refuse("space %s can't be moved below itself", sp.ID)
		}
		sp.Space = asked
		return nil
	}))
}

// below reports whether a space is another one or under it.
func (s *Simulator) below(id, top string) bool {
	for id != rootSpace && id != top {
		id = s.spaces[id].Parent
	}
	return id == top
}

func (resolver) SpaceDelete(ctx context.Context, args struct{ Space graphql.ID }) (*spaceOut, error) {
	return orNull(ctx, found(args.Space, (*Simulator).findSpace, func(s *Simulator, _ actor, sp *space) error {
		if sp.ID == rootSpace || s.inUse(sp.ID) {
			return refuse("space %s is in use", sp.ID)
		}
		delete(s.spaces, sp.ID)
		return nil
	}))
}

func (s *Simulator) inUse(space string) bool {
	for _, id := range s.order {
		if s.stacks[id].Space == space {
			return true
		}
	}
	for _, sp := range s.spaces {
		if sp.ID != rootSpace && sp.Parent == space {
			return true
		}
	}
	return slices.ContainsFunc(s.webhooks, func(w *namedWebhook) bool { return w.Space == space }) ||
		slices.ContainsFunc(s.policies, func(p *policy) bool { return p.Space == space }) ||
		slices.ContainsFunc(s.contexts, func(c *bundle) bool { return c.Space == space })
}
