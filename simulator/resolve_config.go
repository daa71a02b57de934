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
	ConfigElement

	CreatedAt time.Time `json:"createdAt"`
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

func (e configElement) out(*Simulator, actor) *configOut {
	sum := sha256.Sum256([]byte(e.Value))
	o := &configOut{
		ID: graphql.ID(e.ID), Checksum: hex.EncodeToString(sum[:]), CreatedAt: seconds(e.CreatedAt),
		Description: absentIfEmpty(e.Description), Type: e.Type, WriteOnly: e.WriteOnly,
	}
	if !e.WriteOnly {
		o.Value = &e.Value
	}
	return o
}

// configOuts is a configuration in an answer.
type configOuts []*configOut

func (list configOuts) find(id graphql.ID) *configOut {
	if i := slices.IndexFunc(list, func(e *configOut) bool { return e.ID == id }); i >= 0 {
		return list[i]
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

// addTo returns the configuration with the element.
func (in configInput) addTo(config []configElement, at time.Time) (configElement, []configElement) {
	e := configElement{ConfigElement{
		ID: string(in.ID), Type: in.Type, Value: in.Value, Description: deref(in.Description), WriteOnly: in.WriteOnly,
	}, at}
	return e, withElement(config, e)
}

// withoutElement removes an element from a configuration.
func withoutElement(config []configElement, id graphql.ID) (gone configElement, left []configElement, err error) {
	i := slices.IndexFunc(config, func(e configElement) bool { return e.ID == string(id) })
	if i < 0 {
		return configElement{}, config, fmt.Errorf("config %s: %w", id, ErrNotFound)
	}
	return config[i], slices.Delete(slices.Clone(config), i, i+1), nil
}

// StackConfigAdd configures a stack or a module.
func (resolver) StackConfigAdd(ctx context.Context, args struct {
	Stack  graphql.ID
	Config configInput
}) (*configOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (added configElement, err error) {
		st, err := s.findStack(stackID(args.Stack))
		if err == nil {
			added, st.Config = args.Config.addTo(st.Config, s.clock.Now())
		}
		return added, err
	})
}

func (resolver) StackConfigDelete(ctx context.Context, args struct{ Stack, ID graphql.ID }) (*configOut, error) {
	return orNull(ctx, func(s *Simulator, _ actor) (gone configElement, err error) {
		st, err := s.findStack(stackID(args.Stack))
		if err == nil {
			gone, st.Config, err = withoutElement(st.Config, args.ID)
		}
		return gone, err
	})
}
