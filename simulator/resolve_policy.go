package simulator

import (
	"cmp"
	"context"
	"slices"

	"github.com/graph-gophers/graphql-go"

	"github.com/gantryhq/gantry/spacelift"
)

// attachment is a policy attached to a stack by hand.
type attachment struct {
	ID     string            `json:"id"`
	Policy string            `json:"policy"`
	Stack  spacelift.StackID `json:"stack"`
}

type policyOut struct {
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

func (p *policy) out(s *Simulator, who actor) *policyOut {
	o := &policyOut{
		policy: p,
		ID:     graphql.ID(p.ID), Name: p.Name, Body: p.Body, Type: p.Type, Description: absentIfEmpty(p.Description),
		Labels: slices.Clone(p.Labels), Space: graphql.ID(p.Space), SpaceDetails: s.spaces[p.Space].out(s, who),
		EngineType: p.Engine, CreatedAt: seconds(p.CreatedAt), UpdatedAt: seconds(p.UpdatedAt),
	}
	for _, sample := range slices.Backward(p.Samples) {
		o.EvaluationRecords = append(o.EvaluationRecords, &evaluationOut{Key: sample.Key, Outcome: sample.Outcome, Timestamp: seconds(sample.At)})
	}
	return o
}

func (sample policySample) out(*Simulator, actor) *sampleOut {
	return &sampleOut{Input: sample.Input, Body: sample.Body}
}

func (o *policyOut) EvaluationSample(ctx context.Context, args struct{ Key string }) (*sampleOut, error) {
	return orNull(ctx, func(*Simulator, actor) (policySample, error) {
		return find(o.policy.Samples, "sample", args.Key, func(sample policySample) string { return sample.Key })
	})
}

// attachmentOut is a policy's or a context's attachment to a stack or module.
type attachmentOut struct {
	ID             graphql.ID
	StackID        graphql.ID
	StackName      string
	IsModule       bool
	IsAutoattached bool
}

// attachmentOut shows an attachment to the stack. One by label has no id.
func (st *stack) attachmentOut(id string) attachmentOut {
	return attachmentOut{
		ID: graphql.ID(id), StackID: graphql.ID(st.ID), StackName: st.Name, IsModule: st.Module, IsAutoattached: id == "",
	}
}

func (a *attachment) out(s *Simulator, _ actor) *attachmentOut {
	return new(s.stacks[a.Stack].attachmentOut(a.ID))
}

// AttachedStack finds an attachment by the stack's id.
func (o *policyOut) AttachedStack(ctx context.Context, args idArgs) (*attachmentOut, error) {
	return orNull(ctx, func(s *Simulator, _ actor) (*attachment, error) {
		return find(s.attachments, "attachment", o.policy.ID+"/"+string(args.ID), func(a *attachment) string { return a.Policy + "/" + string(a.Stack) })
	})
}

func (resolver) Policy(ctx context.Context, args idArgs) (*policyOut, error) {
	return orNull(ctx, found(args.ID, (*Simulator).findPolicy, nil))
}

func (resolver) Policies(ctx context.Context) []*policyOut {
	return list(ctx, func(s *Simulator) []*policy { return s.policies })
}

// policyInput is the input of both policy mutations; an update has no Type.
type policyInput struct {
	Name        string
	Body        string
	Type        string
	Labels      lines
	Space       *graphql.ID
	Description *string
	EngineType  *string
}

func (resolver) PolicyCreatev2(ctx context.Context, args struct{ Input policyInput }) (*policyOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*policy, error) {
		in := args.Input
		return s.addPolicy(ctx, Policy{
			Name: in.Name, Body: in.Body, Type: in.Type, Labels: in.Labels, Space: string(deref(in.Space)),
			Description: deref(in.Description), Engine: deref(in.EngineType),
		})
	})
}

// PolicyUpdatev2 takes name and body always.
// Assumption: engine and space stay when they are left out, labels and
// description go.
func (resolver) PolicyUpdatev2(ctx context.Context, args struct {
	ID    graphql.ID
	Input policyInput
}) (*policyOut, error) {
	return answer(ctx, found(args.ID, (*Simulator).findPolicy, func(s *Simulator, _ actor, p *policy) error {
		in := args.Input
		engine := cmp.Or(deref(in.EngineType), p.Engine)
		space := cmp.Or(string(deref(in.Space)), p.Space)
		if _, err := s.findSpace(space); err != nil {
			return err
		}
		query, err := compile(ctx, engine, in.Body)
		if err != nil {
			return refuse("policy %s: %v", p.ID, err)
		}
		p.query, p.Engine, p.Space, p.Name, p.Body = query, engine, space, in.Name, in.Body
		p.Labels, p.Description, p.UpdatedAt = in.Labels, deref(in.Description), s.clock.Now()
		return nil
	}))
}

func (resolver) PolicyDelete(ctx context.Context, args idArgs) (*policyOut, error) {
	return orNull(ctx, found(args.ID, (*Simulator).findPolicy, func(s *Simulator, _ actor, p *policy) error {
		s.policies = without(s.policies, p)
		s.attachments = slices.DeleteFunc(s.attachments, func(a *attachment) bool { return a.Policy == p.ID })
		return nil
	}))
}

func (resolver) PolicyAttach(ctx context.Context, args struct{ ID, Stack graphql.ID }) (*attachmentOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*attachment, error) {
		p, err := s.findPolicy(string(args.ID))
		if err != nil {
			return nil, err
		}
		st, err := s.findStack(stackID(args.Stack))
		if err != nil {
			return nil, err
		}
		if p.Type == PolicyNotification {
			return nil, refuse("notification policies work on a whole space and can't be attached")
		}
		a := &attachment{ID: s.newID(), Policy: p.ID, Stack: st.ID}
		s.attachments = append(s.attachments, a)
		return a, nil
	})
}

func (resolver) PolicyDetach(ctx context.Context, args idArgs) (*attachmentOut, error) {
	find := func(s *Simulator, id string) (*attachment, error) {
		return find(s.attachments, "policy attachment", id, func(a *attachment) string { return a.ID })
	}
	return orNull(ctx, found(args.ID, find, func(s *Simulator, _ actor, a *attachment) error {
		s.attachments = without(s.attachments, a)
		return nil
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

// simulated tries both engines: there is no argument that names one. If neither
// compiles the body, the error is the newer engine's.
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
