package simulator

import (
	"cmp"
	"context"
	"slices"

	"github.com/graph-gophers/graphql-go"
)

type contextOut struct {
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
	Config            configOuts
	AttachedStacks    []*contextAttachmentOut
}

type contextAttachmentOut struct {
	attachmentOut

	Priority int32
}

func (c *bundle) out(s *Simulator, who actor) *contextOut {
	o := &contextOut{
		ID: graphql.ID(c.ID), Name: c.Name, Description: absentIfEmpty(c.Description), Labels: slices.Clone(c.Labels),
		Space: graphql.ID(c.Space), SpaceDetails: s.spaces[c.Space].out(s, who), CreatedAt: seconds(c.CreatedAt), UpdatedAt: seconds(c.UpdatedAt),
		Hooks: new(c.Hooks), Config: outs(c.Elements, s, who), AttachedStacks: outs(s.attachedTo(c), s, who),
	}
	o.HasAttachedStacks = len(o.AttachedStacks) > 0
	return o
}

func (a *contextAttachment) out(s *Simulator, _ actor) *contextAttachmentOut {
	return &contextAttachmentOut{s.stacks[a.Stack].attachmentOut(a.ID), int32(a.Priority)}
}

// ConfigElement finds one of Config.
func (o *contextOut) ConfigElement(args idArgs) *configOut { return o.Config.find(args.ID) }

// AttachedStack finds an attachment by hand by the stack's or module's id.
func (o *contextOut) AttachedStack(args idArgs) *contextAttachmentOut {
	for _, a := range o.AttachedStacks {
		if a.StackID == args.ID && !a.IsAutoattached {
			return a
		}
	}
	return nil
}

func (resolver) Context(ctx context.Context, args idArgs) (*contextOut, error) {
	return orNull(ctx, found(args.ID, (*Simulator).findContext, nil))
}

func (resolver) Contexts(ctx context.Context) []*contextOut {
	return list(ctx, func(s *Simulator) []*bundle { return s.contexts })
}

type contextInput struct {
	Name        string
	Description *string
	Hooks       *Hooks
	Labels      lines
	Space       *graphql.ID
}

func (in contextInput) context() Context {
	return Context{
		Name: in.Name, Description: deref(in.Description), Hooks: deref(in.Hooks), Labels: in.Labels, Space: string(deref(in.Space)),
	}
}

func (resolver) ContextCreateV2(ctx context.Context, args struct{ Input contextInput }) (*contextOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*bundle, error) { return s.addContext(args.Input.context()) })
}

// ContextUpdateV2 takes the whole input.
// Assumption: the space stays when it is left out, everything else is reset, as
// for policies.
func (resolver) ContextUpdateV2(ctx context.Context, args struct {
	ID    graphql.ID
	Input contextInput
}) (*contextOut, error) {
	return answer(ctx, found(args.ID, (*Simulator).findContext, func(s *Simulator, _ actor, c *bundle) error {
		asked := args.Input.context()
		asked.ID, asked.Space = c.ID, cmp.Or(asked.Space, c.Space)
		if _, err := s.findSpace(asked.Space); err != nil {
			return err
		}
		c.Context, c.UpdatedAt = asked, s.clock.Now()
		return nil
	}))
}

// ContextDelete detaches the context, too.
func (resolver) ContextDelete(ctx context.Context, args idArgs) (*contextOut, error) {
	return orNull(ctx, found(args.ID, (*Simulator).findContext, func(s *Simulator, _ actor, c *bundle) error {
		s.contexts = without(s.contexts, c)
		s.contextBonds = slices.DeleteFunc(s.contextBonds, func(a *contextAttachment) bool { return a.context == c })
		return nil
	}))
}

func (resolver) ContextAttach(ctx context.Context, args struct {
	ID, Stack graphql.ID
	Priority  int32
}) (*contextAttachmentOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*contextAttachment, error) {
		return s.attachContext(string(args.ID), stackID(args.Stack), int(args.Priority))
	})
}

func (resolver) ContextDetach(ctx context.Context, args idArgs) (*contextAttachmentOut, error) {
	find := func(s *Simulator, id string) (*contextAttachment, error) {
		return find(s.contextBonds, "context attachment", id, func(a *contextAttachment) string { return a.ID })
	}
	return orNull(ctx, found(args.ID, find, func(s *Simulator, _ actor, a *contextAttachment) error {
		s.contextBonds = without(s.contextBonds, a)
		return nil
	}))
}

func (resolver) ContextConfigAdd(ctx context.Context, args struct {
	Context graphql.ID
	Config  configInput
}) (*configOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (added configElement, err error) {
		c, err := s.findContext(string(args.Context))
		if err == nil {
			c.UpdatedAt = s.clock.Now()
			added, c.Elements = args.Config.addTo(c.Elements, c.UpdatedAt)
		}
		return added, err
	})
}

func (resolver) ContextConfigDelete(ctx context.Context, args struct{ Context, ID graphql.ID }) (*configOut, error) {
	return orNull(ctx, func(s *Simulator, _ actor) (gone configElement, err error) {
		c, err := s.findContext(string(args.Context))
		if err != nil {
			return gone, err
		}
		if gone, c.Elements, err = withoutElement(c.Elements, args.ID); err == nil {
			c.UpdatedAt = s.clock.Now()
		}
		return gone, err
	})
}
