package simulator

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/graph-gophers/graphql-go"
)

type contextOut struct {
	sim    *Simulator
	bundle *bundle

	ID                graphql.ID
	Name              string
	Description       *string
	Labels            []string
	Space             graphql.ID
	SpaceDetails      *spaceOut
	CreatedAt         int32
	UpdatedAt         int32
	Hooks             *Hooks
	HasAttachedStacks bool
	Config            []*configOut
	AttachedStacks    []*contextAttachmentOut
}

type contextAttachmentOut struct {
	ID             graphql.ID
	StackID        graphql.ID
	StackName      string
	IsModule       bool
	IsAutoattached bool
	Priority       int32
}

func (c *bundle) out(s *Simulator) *contextOut {
	o := &contextOut{
		sim: s, bundle: c,
		ID: graphql.ID(c.ID), Name: c.Name, Description: absentIfEmpty(c.Description), Labels: orEmpty(slices.Clone(c.Labels)),
		Space: graphql.ID(c.Space), SpaceDetails: s.spaces[c.Space].out(), CreatedAt: seconds(c.createdAt), UpdatedAt: seconds(c.updatedAt),
		Hooks: c.Hooks.out(), Config: configsOut(c.config), AttachedStacks: []*contextAttachmentOut{},
	}
	for _, a := range s.attachedTo(c) {
		o.AttachedStacks = append(o.AttachedStacks, a.out(s))
	}
	o.HasAttachedStacks = len(o.AttachedStacks) > 0
	return o
}

func (a *contextAttachment) out(s *Simulator) *contextAttachmentOut {
	st := s.stacks[a.stack]
	return &contextAttachmentOut{
		ID: graphql.ID(a.id), StackID: graphql.ID(a.stack), StackName: st.Name, IsModule: st.Module, IsAutoattached: a.id == "",
		Priority: int32(a.priority),
	}
}

// out returns the hooks with empty lists for absent ones.
func (h Hooks) out() *Hooks {
	for _, list := range []*[]string{
		&h.AfterApply, &h.AfterDestroy, &h.AfterInit, &h.AfterPerform, &h.AfterPlan, &h.AfterRun,
		&h.BeforeApply, &h.BeforeDestroy, &h.BeforeInit, &h.BeforePerform, &h.BeforePlan,
	} {
		*list = orEmpty(slices.Clone(*list))
	}
	return &h
}

// ConfigElement finds one of Config.
func (o *contextOut) ConfigElement(args idArgs) *configOut { return elementOf(o.Config, args.ID) }

// AttachedStack finds an attachment by hand by the stack's or module's id.
func (o *contextOut) AttachedStack(args idArgs) *contextAttachmentOut {
	for _, a := range o.AttachedStacks {
		if a.StackID == args.ID && !a.IsAutoattached {
			return a
		}
	}
	return nil
}

func (resolver) Context(ctx context.Context, args idArgs) *contextOut {
	return read(ctx, func(s *Simulator) *contextOut {
		if c := s.findContext(string(args.ID)); c != nil {
			return c.out(s)
		}
		return nil
	})
}

func (resolver) Contexts(ctx context.Context) []*contextOut {
	return read(ctx, func(s *Simulator) []*contextOut {
		all := []*contextOut{}
		for _, c := range s.contexts {
			all = append(all, c.out(s))
		}
		return all
	})
}

// hooksInput is the schema's HooksInput.
type hooksInput struct {
	AfterApply    *[]string
	AfterDestroy  *[]string
	AfterInit     *[]string
	AfterPerform  *[]string
	AfterPlan     *[]string
	AfterRun      *[]string
	BeforeApply   *[]string
	BeforeDestroy *[]string
	BeforeInit    *[]string
	BeforePerform *[]string
	BeforePlan    *[]string
}

func (in hooksInput) hooks() Hooks {
	return Hooks{
		AfterApply: deref(in.AfterApply), AfterDestroy: deref(in.AfterDestroy), AfterInit: deref(in.AfterInit),
		AfterPerform: deref(in.AfterPerform), AfterPlan: deref(in.AfterPlan), AfterRun: deref(in.AfterRun),
		BeforeApply: deref(in.BeforeApply), BeforeDestroy: deref(in.BeforeDestroy), BeforeInit: deref(in.BeforeInit),
		BeforePerform: deref(in.BeforePerform), BeforePlan: deref(in.BeforePlan),
	}
}

type contextInput struct {
	Name        string
	Description *string
	Hooks       *hooksInput
	Labels      *[]string
	Space       *graphql.ID
}

func (in contextInput) context() Context {
	return Context{
		Name: in.Name, Description: deref(in.Description), Hooks: deref(in.Hooks).hooks(), Labels: deref(in.Labels),
		Space: string(deref(in.Space)),
	}
}

func (resolver) ContextCreateV2(ctx context.Context, args struct{ Input contextInput }) (*contextOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*contextOut, error) {
		c, err := s.addContext(args.Input.context())
		if err != nil {
			return nil, err
		}
		return c.out(s), nil
	})
}

func onContext(ctx context.Context, id graphql.ID, do func(*Simulator, *bundle) error) (*contextOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*contextOut, error) {
		c := s.findContext(string(id))
		if c == nil {
			return nil, fmt.Errorf("context %s: %w", id, ErrNotFound)
		}
		if err := do(s, c); err != nil {
			return nil, err
		}
		return c.out(s), nil
	})
}

// ContextUpdateV2 takes the whole input.
// Assumption: the space stays when it is left out, everything else is reset, as
// for policies.
func (resolver) ContextUpdateV2(ctx context.Context, args struct {
	ID    graphql.ID
	Input contextInput
}) (*contextOut, error) {
	return onContext(ctx, args.ID, func(s *Simulator, c *bundle) error {
		asked := args.Input.context()
		asked.ID, asked.Space = c.ID, cmp.Or(asked.Space, c.Space)
		if s.spaces[asked.Space] == nil {
			return fmt.Errorf("space %s: %w", asked.Space, ErrNotFound)
		}
		c.Context, c.updatedAt = asked, s.clock.Now()
		return nil
	})
}

// ContextDelete detaches the context, too.
func (resolver) ContextDelete(ctx context.Context, args idArgs) (*contextOut, error) {
	return unlessGone(onContext(ctx, args.ID, func(s *Simulator, c *bundle) error {
		s.contexts = slices.DeleteFunc(s.contexts, func(o *bundle) bool { return o == c })
		s.contextBonds = slices.DeleteFunc(s.contextBonds, func(a *contextAttachment) bool { return a.context == c })
		return nil
	}))
}

func (resolver) ContextAttach(ctx context.Context, args struct {
	ID, Stack graphql.ID
	Priority  int32
}) (*contextAttachmentOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*contextAttachmentOut, error) {
		a, err := s.attachContext(string(args.ID), stackID(args.Stack), int(args.Priority))
		if err != nil {
			return nil, err
		}
		return a.out(s), nil
	})
}

func (resolver) ContextDetach(ctx context.Context, args idArgs) (*contextAttachmentOut, error) {
	return unlessGone(with(ctx, func(s *Simulator, _ actor) (*contextAttachmentOut, error) {
		i := slices.IndexFunc(s.contextBonds, func(a *contextAttachment) bool { return a.id == string(args.ID) })
		if i < 0 {
			return nil, fmt.Errorf("context attachment %s: %w", args.ID, ErrNotFound)
		}
		gone := s.contextBonds[i].out(s)
		s.contextBonds = slices.Delete(s.contextBonds, i, i+1)
		return gone, nil
	}))
}

func (resolver) ContextConfigAdd(ctx context.Context, args struct {
	Context graphql.ID
	Config  configInput
}) (*configOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*configOut, error) {
		c := s.findContext(string(args.Context))
		if c == nil {
			return nil, fmt.Errorf("context %s: %w", args.Context, ErrNotFound)
		}
		e := args.Config.element(s.clock.Now())
		c.config, c.updatedAt = withElement(c.config, e), s.clock.Now()
		return e.out(), nil
	})
}

func (resolver) ContextConfigDelete(ctx context.Context, args struct{ Context, ID graphql.ID }) (*configOut, error) {
	return unlessGone(with(ctx, func(s *Simulator, _ actor) (*configOut, error) {
		c := s.findContext(string(args.Context))
		if c == nil {
			return nil, fmt.Errorf("context %s: %w", args.Context, ErrNotFound)
		}
		gone, left, err := withoutElement(c.config, args.ID)
		if err != nil {
			return nil, err
		}
		c.config, c.updatedAt = left, s.clock.Now()
		return gone.out(), nil
	}))
}
