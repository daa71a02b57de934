package simulator

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/graph-gophers/graphql-go"

	"github.com/gantryhq/gantry/spacelift"
)

// attachment is a policy attached to a stack by hand.
type attachment struct {
	id     string
	policy *policy
	stack  spacelift.StackID
}

type policyOut struct {
	sim    *Simulator
	policy *policy

	ID                graphql.ID
	Name              string
	Body              string
	Type              string
	Description       *string
	Labels            []string
	Space             graphql.ID
	SpaceDetails      *spaceOut
	EngineType        string
	CreatedAt         int32
	UpdatedAt         int32
	EvaluationRecords []*evaluationOut
}

type evaluationOut struct {
	Key       string
	Outcome   string
	Timestamp int32
}

type sampleOut struct{ Input, Body string }

func (p *policy) out(s *Simulator) *policyOut {
	o := &policyOut{
		sim: s, policy: p,
		ID: graphql.ID(p.ID), Name: p.Name, Body: p.Body, Type: p.Type, Description: absentIfEmpty(p.Description),
		Labels: orEmpty(slices.Clone(p.Labels)), Space: graphql.ID(p.Space), SpaceDetails: s.spaces[p.Space].out(),
		EngineType: p.Engine, CreatedAt: seconds(p.createdAt), UpdatedAt: seconds(p.updatedAt),
		EvaluationRecords: []*evaluationOut{},
	}
	for _, sample := range slices.Backward(p.samples) {
		o.EvaluationRecords = append(o.EvaluationRecords, &evaluationOut{Key: sample.key, Outcome: sample.outcome, Timestamp: seconds(sample.at)})
	}
	return o
}

func (o *policyOut) EvaluationSample(args struct{ Key string }) *sampleOut {
	o.sim.mu.Lock()
	defer o.sim.mu.Unlock()
	for _, sample := range o.policy.samples {
		if sample.key == args.Key {
			return &sampleOut{Input: sample.input, Body: sample.body}
		}
	}
	return nil
}

type attachmentOut struct {
	ID             graphql.ID
	StackID        graphql.ID
	StackName      string
	IsModule       bool
	IsAutoattached bool
}

func (a *attachment) out(s *Simulator) *attachmentOut {
	st := s.stacks[a.stack]
	return &attachmentOut{ID: graphql.ID(a.id), StackID: graphql.ID(a.stack), StackName: st.Name, IsModule: st.Module}
}

// AttachedStack looks for an attachment by the stack's id.
func (o *policyOut) AttachedStack(args idArgs) *attachmentOut {
	o.sim.mu.Lock()
	defer o.sim.mu.Unlock()
	for _, a := range o.sim.attachments {
		if a.policy == o.policy && a.stack == stackID(args.ID) {
			return a.out(o.sim)
		}
	}
	return nil
}

func (resolver) Policy(ctx context.Context, args idArgs) *policyOut {
	return read(ctx, func(s *Simulator) *policyOut {
		if p := s.findPolicy(string(args.ID)); p != nil {
			return p.out(s)
		}
		return nil
	})
}

func (resolver) Policies(ctx context.Context) []*policyOut {
	return read(ctx, func(s *Simulator) []*policyOut {
		all := []*policyOut{}
		for _, p := range s.policies {
			all = append(all, p.out(s))
		}
		return all
	})
}

func (resolver) PolicyCreatev2(ctx context.Context, args struct {
	Input struct {
		Name        string
		Body        string
		Type        string
		Labels      *[]string
		Space       *graphql.ID
		Description *string
		EngineType  *string
	}
}) (*policyOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*policyOut, error) {
		in := args.Input
		p, err := s.addPolicy(ctx, Policy{
			Name: in.Name, Body: in.Body, Type: in.Type, Labels: deref(in.Labels), Space: string(deref(in.Space)),
			Description: deref(in.Description), Engine: deref(in.EngineType),
		})
		if err != nil {
			return nil, err
		}
		return p.out(s), nil
	})
}

func onPolicy(ctx context.Context, id graphql.ID, do func(*Simulator, *policy) error) (*policyOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*policyOut, error) {
		p := s.findPolicy(string(id))
		if p == nil {
			return nil, fmt.Errorf("policy %s: %w", id, ErrNotFound)
		}
		if err := do(s, p); err != nil {
			return nil, err
		}
		return p.out(s), nil
	})
}

// PolicyUpdatev2 takes name and body always.
// Assumption: engine and space stay when they are left out, labels and
// description go.
func (resolver) PolicyUpdatev2(ctx context.Context, args struct {
	ID    graphql.ID
	Input struct {
		Name        string
		Body        string
		Labels      *[]string
		Space       *graphql.ID
		Description *string
		EngineType  *string
	}
}) (*policyOut, error) {
	return onPolicy(ctx, args.ID, func(s *Simulator, p *policy) error {
		in := args.Input
		engine := cmp.Or(deref(in.EngineType), p.Engine)
		space := cmp.Or(string(deref(in.Space)), p.Space)
		if s.spaces[space] == nil {
			return fmt.Errorf("space %s: %w", space, ErrNotFound)
		}
		query, err := compile(ctx, engine, in.Body)
		if err != nil {
			return refuse("policy %s: %v", p.ID, err)
		}
		p.query, p.Engine, p.Space, p.Name, p.Body = query, engine, space, in.Name, in.Body
		p.Labels, p.Description, p.updatedAt = deref(in.Labels), deref(in.Description), s.clock.Now()
		return nil
	})
}

func (resolver) PolicyDelete(ctx context.Context, args idArgs) (*policyOut, error) {
	return unlessGone(onPolicy(ctx, args.ID, func(s *Simulator, p *policy) error {
		s.policies = slices.DeleteFunc(s.policies, func(o *policy) bool { return o == p })
		s.attachments = slices.DeleteFunc(s.attachments, func(a *attachment) bool { return a.policy == p })
		return nil
	}))
}

func (resolver) PolicyAttach(ctx context.Context, args struct{ ID, Stack graphql.ID }) (*attachmentOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*attachmentOut, error) {
		p := s.findPolicy(string(args.ID))
		if p == nil {
			return nil, fmt.Errorf("policy %s: %w", args.ID, ErrNotFound)
		}
		st, err := s.findStack(stackID(args.Stack))
		if err != nil {
			return nil, err
		}
		if p.Type == PolicyNotification {
			return nil, refuse("notification policies work on a whole space and can't be attached")
		}
		a := &attachment{id: s.newID(), policy: p, stack: st.ID}
		s.attachments = append(s.attachments, a)
		return a.out(s), nil
	})
}

func (resolver) PolicyDetach(ctx context.Context, args idArgs) (*attachmentOut, error) {
	return unlessGone(with(ctx, func(s *Simulator, _ actor) (*attachmentOut, error) {
		i := slices.IndexFunc(s.attachments, func(a *attachment) bool { return a.id == string(args.ID) })
		if i < 0 {
			return nil, fmt.Errorf("policy attachment %s: %w", args.ID, ErrNotFound)
		}
		gone := s.attachments[i].out(s)
		s.attachments = slices.Delete(s.attachments, i, i+1)
		return gone, nil
	}))
}

// PolicySimulate is the older form of PolicySimulatev2.
func (resolver) PolicySimulate(ctx context.Context, args struct{ Body, Input, Type string }) (*string, error) {
	return simulated(ctx, args.Body, args.Input)
}

func (resolver) PolicySimulatev2(ctx context.Context, args struct {
	Input struct{ Type, Body, Data string }
}) (*string, error) {
	return simulated(ctx, args.Input.Body, args.Input.Data)
}

// simulated takes either engine's Rego: there is no argument that says which.
// Of a body that neither compiles, it shows the newer engine's complaint.
func simulated(ctx context.Context, body, data string) (*string, error) {
	out, err := simulatePolicy(ctx, RegoV1, body, data)
	if err != nil {
		older, olderErr := simulatePolicy(ctx, RegoV0, body, data)
		if olderErr != nil {
			return nil, err
		}
		out = older
	}
	return &out, nil
}
