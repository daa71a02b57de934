package simulator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/graph-gophers/graphql-go"

	"github.com/gantryhq/gantry/spacelift"
)

// resolver is the root of both queries and mutations. Its methods are the
// schema's fields; each takes the lock, and what it returns is a copy.
type resolver struct{}

// shown is an object of the account that an answer shows as an O.
type shown[O any] interface {
	out(s *Simulator, who actor) O
}

// answer calls f under the lock of the caller's simulator and shows what f returns.
func answer[T shown[O], O any](ctx context.Context, f func(s *Simulator, who actor) (T, error)) (out O, err error) {
	c := callerOf(ctx)
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	found, err := f(c.sim, c.actor())
	if err != nil {
		return out, err
	}
	return found.out(c.sim, c.actor()), nil
}

// orNull answers with null if f finds nothing. Deletions rely on it as
// queries do: spacelift_stack_destructor deletes a stack before Terraform deletes
// what belongs to the stack.
func orNull[T shown[*O], O any](ctx context.Context, f func(s *Simulator, who actor) (T, error)) (*O, error) {
	found, err := answer(ctx, f)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return found, err
}

// list calls f under the lock of the caller's simulator and shows each object that f returns.
func list[T shown[O], O any](ctx context.Context, f func(s *Simulator) []T) []O {
	c := callerOf(ctx)
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	return outs(f(c.sim), c.sim, c.actor())
}

func outs[T shown[O], O any](list []T, s *Simulator, who actor) []O {
	out := make([]O, 0, len(list))
	for _, item := range list {
		out = append(out, item.out(s, who))
	}
	return out
}

// found returns a function for answer that finds an object and changes it.
func found[ID ~string, T any](
	id graphql.ID, find func(*Simulator, ID) (T, error), change func(s *Simulator, who actor, found T) error,
) func(*Simulator, actor) (T, error) {
	return func(s *Simulator, who actor) (T, error) {
		object, err := find(s, ID(id))
		if err == nil && change != nil {
			err = change(s, who, object)
		}
		return object, err
	}
}

// without removes an element from a list.
func without[T comparable](list []T, gone T) []T {
	return slices.DeleteFunc(list, func(o T) bool { return o == gone })
}

type idArgs struct{ ID graphql.ID }

func (resolver) Viewer(ctx context.Context) *viewerOut {
	k := callerOf(ctx).key
	return &viewerOut{ID: graphql.ID(k.actor().name), Name: k.Name, Admin: k.actor().admin}
}

type viewerOut struct {
	ID    graphql.ID
	Name  string
	Admin bool
}

func (resolver) DebugInfo() debugInfoOut { return debugInfoOut{} }

type debugInfoOut struct{ SelfHostedVersion string }

// OutgoingIPAddresses returns addresses of a range reserved for documentation.
func (resolver) OutgoingIPAddresses() []string { return []string{"192.0.2.10", "192.0.2.11"} }

type apiKeyUserOut struct {
	JWT        string
	ValidUntil int32
}

func (resolver) APIKeyUser(ctx context.Context, args struct {
	ID     graphql.ID
	Secret string
}) (*apiKeyUserOut, error) {
	c := callerOf(ctx)
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	k, known := c.sim.keys[string(args.ID)]
	if !known || k.Secret != args.Secret {
		return nil, ErrUnauthorized
	}
	token, until := c.sim.issue(k, c.origin)
	return &apiKeyUserOut{JWT: token, ValidUntil: seconds(until)}, nil
}

func seconds(t time.Time) int32 { return int32(t.Unix()) }

// absentIfEmpty returns nil, which is null in GraphQL, for an empty string.
func absentIfEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func stackID(id graphql.ID) spacelift.StackID { return spacelift.StackID(id) }

func runID(id graphql.ID) spacelift.RunID { return spacelift.RunID(id) }

// flag is a Boolean that a client may leave out or set to null, which is false.
type flag bool

// ImplementsGraphQLType implements decode.Unmarshaler.
func (*flag) ImplementsGraphQLType(name string) bool { return name == "Boolean" }

// Nullable makes graphql-go accept null.
func (*flag) Nullable() {}

// UnmarshalGraphQL implements decode.Unmarshaler.
func (f *flag) UnmarshalGraphQL(input any) error {
	value, ok := input.(bool)
	if !ok && input != nil {
		return errors.New("not a Boolean")
	}
	*f = flag(value)
	return nil
}

// lines is a list of strings that a client may leave out or set to null, which is
// the empty list.
type lines []string

// ImplementsGraphQLType implements decode.Unmarshaler.
func (*lines) ImplementsGraphQLType(name string) bool { return name == "[String!]" }

// Nullable makes graphql-go accept null.
func (*lines) Nullable() {}

// UnmarshalGraphQL implements decode.Unmarshaler.
func (l *lines) UnmarshalGraphQL(input any) error {
	*l = nil
	values, isList := input.([]any)
	if !isList && input != nil {
		values = []any{input} // GraphQL takes one value for a list of one
	}
	for _, value := range values {
		line, ok := value.(string)
		if !ok {
			return errors.New("not a String")
		}
		*l = append(*l, line)
	}
	return nil
}
