package simulator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/graph-gophers/graphql-go"
)

// configElement is an environment variable or a mounted file of a stack, a
// module or a context.
type configElement struct {
	id, kind, value, description string
	writeOnly                    bool
	createdAt                    time.Time
}

type configOut struct {
	ID          graphql.ID
	Checksum    string
	CreatedAt   int32
	Description *string
	Runtime     bool
	Type        string
	Value       *string
	WriteOnly   bool
}

func (e configElement) out() *configOut {
	sum := sha256.Sum256([]byte(e.value))
	o := &configOut{
		ID: graphql.ID(e.id), Checksum: hex.EncodeToString(sum[:]), CreatedAt: seconds(e.createdAt),
		Description: absentIfEmpty(e.description), Type: e.kind, WriteOnly: e.writeOnly,
	}
	if !e.writeOnly {
		o.Value = &e.value
	}
	return o
}

func configsOut(config []configElement) []*configOut {
	out := make([]*configOut, 0, len(config))
	for _, e := range config {
		out = append(out, e.out())
	}
	return out
}

func elementOf(config []*configOut, id graphql.ID) *configOut {
	for _, e := range config {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// configInput is the schema's ConfigInput.
type configInput struct {
	ID          graphql.ID
	Type        string
	Value       string
	WriteOnly   bool
	Description *string
}

func (in configInput) element(at time.Time) configElement {
	return configElement{
		id: string(in.ID), kind: in.Type, value: in.Value, description: deref(in.Description), writeOnly: in.WriteOnly, createdAt: at,
	}
}

// withoutElement takes an element out of a configuration.
func withoutElement(config []configElement, id graphql.ID) (gone configElement, left []configElement, err error) {
	i := slices.IndexFunc(config, func(e configElement) bool { return e.id == string(id) })
	if i < 0 {
		return configElement{}, nil, fmt.Errorf("config %s: %w", id, ErrNotFound)
	}
	return config[i], slices.Delete(slices.Clone(config), i, i+1), nil
}

// StackConfigAdd configures a stack or a module.
func (resolver) StackConfigAdd(ctx context.Context, args struct {
	Stack  graphql.ID
	Config configInput
}) (*configOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*configOut, error) {
		st, err := s.findStack(stackID(args.Stack))
		if err != nil {
			return nil, err
		}
		e := args.Config.element(s.clock.Now())
		st.config = withElement(st.config, e)
		return e.out(), nil
	})
}

func (resolver) StackConfigDelete(ctx context.Context, args struct{ Stack, ID graphql.ID }) (*configOut, error) {
	return unlessGone(with(ctx, func(s *Simulator, _ actor) (*configOut, error) {
		st, err := s.findStack(stackID(args.Stack))
		if err != nil {
			return nil, err
		}
		gone, left, err := withoutElement(st.config, args.ID)
		if err != nil {
			return nil, err
		}
		st.config = left
		return gone.out(), nil
	}))
}
