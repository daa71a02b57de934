package simulator

import (
	"cmp"
	"context"
	"fmt"
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

func (sp *space) out() *spaceOut {
	o := &spaceOut{
		ID: graphql.ID(sp.ID), Name: sp.Name, Description: sp.Description, InheritEntities: sp.InheritEntities,
		Labels: orEmpty(slices.Clone(sp.Labels)), AccessLevel: "ADMIN",
	}
	if sp.ID != rootSpace {
		o.ParentSpace = new(graphql.ID(sp.Parent))
	}
	return o
}

func (resolver) Space(ctx context.Context, args idArgs) *spaceOut {
	return read(ctx, func(s *Simulator) *spaceOut {
		if sp := s.spaces[string(args.ID)]; sp != nil {
			return sp.out()
		}
		return nil
	})
}

func (resolver) Spaces(ctx context.Context) []*spaceOut {
	return read(ctx, func(s *Simulator) []*spaceOut {
		all := []*spaceOut{}
		for _, sp := range s.sortedSpaces() {
			all = append(all, sp.out())
		}
		return all
	})
}

type spaceInput struct {
	Name            string
	Description     *string
	InheritEntities *bool
	ParentSpace     graphql.ID
	Labels          *[]string
}

func (resolver) SpaceCreate(ctx context.Context, args struct{ Input spaceInput }) (*spaceOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*spaceOut, error) {
		in := args.Input
		sp, err := s.addSpace(Space{
			Name: in.Name, Description: deref(in.Description), InheritEntities: truth(in.InheritEntities),
			Parent: string(in.ParentSpace), Labels: deref(in.Labels),
		})
		if err != nil {
			return nil, err
		}
		return sp.out(), nil
	})
}

func (resolver) SpaceUpdate(ctx context.Context, args struct {
	Space graphql.ID
	Input spaceInput
}) (*spaceOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*spaceOut, error) {
		sp, in := s.spaces[string(args.Space)], args.Input
		parent := cmp.Or(string(in.ParentSpace), rootSpace)
		switch {
		case sp == nil:
			return nil, fmt.Errorf("space %s: %w", args.Space, ErrNotFound)
		case sp.ID == rootSpace:
			return nil, refuse("the root space can't be changed")
		case s.spaces[parent] == nil:
			return nil, fmt.Errorf("space %s: %w", parent, ErrNotFound)
		case s.below(parent, sp.ID):
			return nil, refuse("space %s can't be moved below itself", sp.ID)
		}
		sp.Name, sp.Description, sp.Labels = in.Name, deref(in.Description), deref(in.Labels)
		sp.Parent, sp.InheritEntities = parent, truth(in.InheritEntities)
		return sp.out(), nil
	})
}

// below reports whether a space is another one or under it.
func (s *Simulator) below(id, top string) bool {
	for id != rootSpace && id != top {
		id = s.spaces[id].Parent
	}
	return id == top
}

func (resolver) SpaceDelete(ctx context.Context, args struct{ Space graphql.ID }) (*spaceOut, error) {
	return unlessGone(with(ctx, func(s *Simulator, _ actor) (*spaceOut, error) {
		sp := s.spaces[string(args.Space)]
		switch {
		case sp == nil:
			return nil, fmt.Errorf("space %s: %w", args.Space, ErrNotFound)
		case sp.ID == rootSpace || s.inUse(sp.ID):
			return nil, refuse("space %s is in use", sp.ID)
		}
		delete(s.spaces, sp.ID)
		return sp.out(), nil
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
