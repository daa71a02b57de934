package simulator

import (
	"context"
	"fmt"
	"slices"

	"github.com/graph-gophers/graphql-go"
)

type dependencyOut struct {
	references []Reference

	ID               graphql.ID
	DependsOnStackID graphql.ID
	ReferenceCount   int32
	TriggerAlways    bool
	Stack            *stackOut
	DependsOnStack   *stackOut
}

type referenceOut struct {
	ID            graphql.ID
	OutputName    string
	InputName     string
	Type          string
	TriggerAlways bool
}

func (d *dependency) out(s *Simulator) *dependencyOut {
	o := &dependencyOut{
		ID: graphql.ID(d.id), DependsOnStackID: graphql.ID(d.on), TriggerAlways: d.triggerAlways,
		ReferenceCount: int32(len(d.references)),
		Stack:          s.stacks[d.stack].out(s), DependsOnStack: s.stacks[d.on].out(s),
	}
	for _, ref := range d.references {
		o.references = append(o.references, *ref)
	}
	return o
}

func (ref Reference) out() *referenceOut {
	return &referenceOut{
		ID: graphql.ID(ref.ID), OutputName: ref.Output, InputName: ref.Input, Type: ref.Type, TriggerAlways: ref.TriggerAlways,
	}
}

func (o *dependencyOut) Reference(args struct {
	ID        *graphql.ID
	InputName *string
}) *referenceOut {
	for _, ref := range o.references {
		id, input := deref(args.ID), deref(args.InputName)
		if id != "" && ref.ID == string(id) || input != "" && ref.Input == input {
			return ref.out()
		}
	}
	return nil
}

func (s *Simulator) findDependency(id graphql.ID) (*dependency, error) {
	for _, d := range s.dependencies {
		if d.id == string(id) {
			return d, nil
		}
	}
	return nil, fmt.Errorf("stack dependency %s: %w", id, ErrNotFound)
}

func (s *Simulator) findReference(id graphql.ID) (*dependency, *Reference, error) {
	for _, d := range s.dependencies {
		for _, ref := range d.references {
			if ref.ID == string(id) {
				return d, ref, nil
			}
		}
	}
	return nil, nil, fmt.Errorf("stack dependency reference %s: %w", id, ErrNotFound)
}

func (resolver) StackDependencyCreate(ctx context.Context, args struct {
	Input struct {
		StackID, DependsOnStackID graphql.ID
		TriggerAlways             *bool
	}
}) (*dependencyOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*dependencyOut, error) {
		d, err := s.addDependency(stackID(args.Input.StackID), stackID(args.Input.DependsOnStackID), truth(args.Input.TriggerAlways))
		if err != nil {
			return nil, err
		}
		return d.out(s), nil
	})
}

func (resolver) StackDependencyUpdate(ctx context.Context, args struct {
	Input struct {
		ID            graphql.ID
		TriggerAlways *bool
	}
}) (*dependencyOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*dependencyOut, error) {
		d, err := s.findDependency(args.Input.ID)
		if err != nil {
			return nil, err
		}
		d.triggerAlways = truth(args.Input.TriggerAlways)
		return d.out(s), nil
	})
}

func (resolver) StackDependencyDelete(ctx context.Context, args idArgs) (*dependencyOut, error) {
	return unlessGone(with(ctx, func(s *Simulator, _ actor) (*dependencyOut, error) {
		d, err := s.findDependency(args.ID)
		if err != nil {
			return nil, err
		}
		s.dependencies = slices.DeleteFunc(s.dependencies, func(o *dependency) bool { return o == d })
		return d.out(s), nil
	}))
}

type referenceInput struct {
	OutputName    string
	InputName     string
	Type          *string
	TriggerAlways *bool
}

func (resolver) StackDependenciesAddReference(ctx context.Context, args struct {
	StackDependencyID graphql.ID
	Reference         referenceInput
}) (*referenceOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*referenceOut, error) {
		d, err := s.findDependency(args.StackDependencyID)
		if err != nil {
			return nil, err
		}
		in := args.Reference
		return s.addReference(d, Reference{
			Output: in.OutputName, Input: in.InputName, Type: deref(in.Type), TriggerAlways: truth(in.TriggerAlways),
		}).out(), nil
	})
}

func (resolver) StackDependenciesUpdateReference(ctx context.Context, args struct {
	Reference struct {
		ID            graphql.ID
		OutputName    string
		InputName     string
		Type          *string
		TriggerAlways *bool
	}
}) (*referenceOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*referenceOut, error) {
		in := args.Reference
		_, ref, err := s.findReference(in.ID)
		if err != nil {
			return nil, err
		}
		ref.Output, ref.Input, ref.TriggerAlways = in.OutputName, in.InputName, truth(in.TriggerAlways)
		if in.Type != nil {
			ref.Type = *in.Type
		}
		return ref.out(), nil
	})
}

func (resolver) StackDependenciesDeleteReference(ctx context.Context, args idArgs) (*referenceOut, error) {
	return unlessGone(with(ctx, func(s *Simulator, _ actor) (*referenceOut, error) {
		d, ref, err := s.findReference(args.ID)
		if err != nil {
			return nil, err
		}
		d.references = slices.DeleteFunc(d.references, func(o *Reference) bool { return o == ref })
		return ref.out(), nil
	}))
}
