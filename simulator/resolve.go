package simulator

import (
	"context"
	"errors"
	"time"

	"github.com/graph-gophers/graphql-go"

	"github.com/gantryhq/gantry/spacelift"
)

// resolver is the root of both queries and mutations. Its methods are the
// schema's fields; each takes the lock, and what it returns is a copy.
type resolver struct{}

// with calls f under the lock of the caller's simulator.
func with[T any](ctx context.Context, f func(s *Simulator, who actor) (T, error)) (T, error) {
	c := callerOf(ctx)
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	return f(c.sim, c.actor())
}

// read is with for what can't fail.
func read[T any](ctx context.Context, f func(s *Simulator) T) T {
	v, _ := with(ctx, func(s *Simulator, _ actor) (T, error) { return f(s), nil })
	return v
}

// unlessGone makes a deletion succeed, with null, when its object is already
// gone. spacelift_stack_destructor relies on it: it deletes a stack before
// Terraform deletes what belongs to the stack.
func unlessGone[T any](deleted *T, err error) (*T, error) {
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return deleted, err
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

// OutgoingIPAddresses are of a range reserved for documentation.
func (resolver) OutgoingIPAddresses() []string { return []string{"192.0.2.10", "192.0.2.11"} }

type apiKeyUserOut struct {
	JWT        string
	ValidUntil int32
}

func (resolver) APIKeyUser(ctx context.Context, args struct {
	ID     graphql.ID
	Secret string
}) (*apiKeyUserOut, error) {
	audience := callerOf(ctx).origin
	return with(ctx, func(s *Simulator, _ actor) (*apiKeyUserOut, error) {
		k, known := s.keys[string(args.ID)]
		if !known || k.Secret != args.Secret {
			return nil, ErrUnauthorized
		}
		token, until := s.issue(k, audience)
		return &apiKeyUserOut{JWT: token, ValidUntil: seconds(until)}, nil
	})
}

func seconds(t time.Time) int32 { return int32(t.Unix()) }

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// absentIfEmpty is null in GraphQL for an empty string.
func absentIfEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func stackID(id graphql.ID) spacelift.StackID { return spacelift.StackID(id) }

func runID(id graphql.ID) spacelift.RunID { return spacelift.RunID(id) }
