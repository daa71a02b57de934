package simulator

import (
	"context"
	"fmt"

	"github.com/graph-gophers/graphql-go"
)

type dependencyOut struct {
	references []*Reference

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

func (d *dependency) out(s *Simulator, who actor) *dependencyOut {
	return &dependencyOut{
		ID: graphql.ID(d.ID), DependsOnStackID: graphql.ID(d.On), TriggerAlways: d.TriggerAlways,
		ReferenceCount: int32(len(d.References)), references: pointers(values(d.References)),
		Stack: s.stacks[d.Stack].out(s, who), DependsOnStack: s.stacks[d.On].out(s, who),
	}
}

func (ref *Reference) out(*Simulator, actor) *referenceOut {
	return &referenceOut{
		ID: graphql.ID(ref.ID), OutputName: ref.Output, InputName: ref.Input, Type: ref.Type, TriggerAlways: ref.TriggerAlways,
	}
}

func (o *dependencyOut) Reference(args struct {
	ID        *graphql.ID
	InputName *string
}) *referenceOut {
	id, input := deref(args.ID), deref(args.InputName)
	for _, ref := range o.references {
		if id != "" && ref.ID == string(id) || input != "" && ref.Input == input {
			return ref.out(nil, actor{})
		}
	}
	return nil
}

func (s *Simulator) findDependency(id string) (*dependency, error) {
	return find(s.dependencies, "stack dependency", id, func(d *dependency) string { return d.ID })
}

func (s *Simulator) findReference(id graphql.ID) (*dependency, *Reference, error) {
	for _, d := range s.dependencies {
		for _, ref := range d.References {
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
		TriggerAlways             flag
	}
}) (*dependencyOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*dependency, error) {
		return s.addDependency(stackID(args.Input.StackID), stackID(args.Input.DependsOnStackID), bool(args.Input.TriggerAlways))
	})
}

func (resolver) StackDependencyUpdate(ctx context.Context, args struct {
	Input struct {
		ID            graphql.ID
		TriggerAlways flag
	}
}) (*dependencyOut, error) {
	return answer(ctx, found(args.Input.ID, (*Simulator).findDependency, func(_ *Simulator, _ actor, d *dependency) error {
		d.TriggerAlways = bool(args.Input.TriggerAlways)
		return nil
	}))
}

func (resolver) StackDependencyDelete(ctx context.Context, args idArgs) (*dependencyOut, error) {
	return orNull(ctx, found(args.ID, (*Simulator).findDependency, func(s *Simulator, _ actor, d *dependency) error {
		s.dependencies = without(s.dependencies, d)
		return nil
	}))
}

// referenceInput is the input of both reference mutations; only an update has an ID.
type referenceInput struct {
	ID            graphql.ID
	OutputName    string
	InputName     string
	Type          *string
	TriggerAlways flag
}

func (resolver) StackDependenciesAddReference(ctx context.Context, args struct {
	StackDependencyID graphql.ID
	Reference         referenceInput
}) (*referenceOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*Reference, error) {
		d, err := s.findDependency(string(args.StackDependencyID))
		if err != nil {
			return nil, err
		}
		in := args.Reference
		return s.addReference(d, Reference{
			Output: in.OutputName, Input: in.InputName, Type: deref(in.Type), TriggerAlways: bool(in.TriggerAlways),
		}), nil
	})
}

func (resolver) StackDependenciesUpdateReference(ctx context.Context, args struct{ Reference referenceInput }) (*referenceOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*Reference, error) {
		in := args.Reference
		_, ref, err := s.findReference(in.ID)
		if err != nil {
			return nil, err
		}
		ref.Output, ref.Input, ref.TriggerAlways = in.OutputName, in.InputName, bool(in.TriggerAlways)
		if in.Type != nil {
			ref.Type = *in.Type
		}
		return ref, nil
	})
}

func (resolver) StackDependenciesDeleteReference(ctx context.Context, args idArgs) (*referenceOut, error) {
	return orNull(ctx, func(s *Simulator, _ actor) (*Reference, error) {
		d, ref, err := s.findReference(args.ID)
		if err == nil {
			d.References = without(d.References, ref)
		}
		return ref, err
	})
}
