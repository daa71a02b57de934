package simulator

import (
	"context"

	"github.com/graph-gophers/graphql-go"

	"github.com/gantryhq/gantry/spacelift"
)

type runArgs struct {
	Stack graphql.ID
	Run   graphql.ID
	Note  *string
}

// blockerArgs is runArgs where the run may be left out.
type blockerArgs struct {
	Stack graphql.ID
	Run   *graphql.ID
	Note  *string
}

type verb func(s *Simulator, who actor, stack spacelift.StackID, run spacelift.RunID, note string) (*run, error)

func onRun(ctx context.Context, args runArgs, do verb) (*runOut, error) {
	return with(ctx, func(s *Simulator, who actor) (*runOut, error) {
		r, err := do(s, who, stackID(args.Stack), runID(args.Run), deref(args.Note))
		if err != nil {
			return nil, err
		}
		return r.out(), nil
	})
}

func onBlocker(ctx context.Context, args blockerArgs, do verb) (*runOut, error) {
	return onRun(ctx, runArgs{Stack: args.Stack, Run: deref(args.Run), Note: args.Note}, do)
}

// withoutNote fits verbs that take none.
func withoutNote(do func(*Simulator, actor, spacelift.StackID, spacelift.RunID) (*run, error)) verb {
	return func(s *Simulator, who actor, stack spacelift.StackID, run spacelift.RunID, _ string) (*run, error) {
		return do(s, who, stack, run)
	}
}

func (resolver) RunConfirm(ctx context.Context, args blockerArgs) (*runOut, error) {
	metadata := callerOf(ctx).metadata
	return onBlocker(ctx, args, func(s *Simulator, who actor, stack spacelift.StackID, id spacelift.RunID, note string) (*run, error) {
		return s.confirm(who, stack, id, note, metadata)
	})
}

func (resolver) RunDiscard(ctx context.Context, args blockerArgs) (*runOut, error) {
	return onBlocker(ctx, args, (*Simulator).discard)
}

func (resolver) RunCancel(ctx context.Context, args runArgs) (*runOut, error) {
	return onRun(ctx, args, (*Simulator).cancelRun)
}

func (resolver) RunStop(ctx context.Context, args runArgs) (*runOut, error) {
	return onRun(ctx, args, (*Simulator).stop)
}

func (resolver) RunKill(ctx context.Context, args runArgs) (*runOut, error) {
	return onRun(ctx, args, (*Simulator).kill)
}

type stackRunArgs struct{ Stack, Run graphql.ID }

func (resolver) RunRetry(ctx context.Context, args stackRunArgs) (*runOut, error) {
	return onRun(ctx, runArgs{Stack: args.Stack, Run: args.Run}, withoutNote((*Simulator).retry))
}

func (resolver) RunPromote(ctx context.Context, args stackRunArgs) (*runOut, error) {
	return onRun(ctx, runArgs{Stack: args.Stack, Run: args.Run}, withoutNote((*Simulator).promote))
}

// RunTargetedReplan plans again what ChangePlan has scripted, whatever the targets.
func (resolver) RunTargetedReplan(ctx context.Context, args struct {
	Stack, Run graphql.ID
	Targets    []string
}) (*runOut, error) {
	return onRun(ctx, runArgs{Stack: args.Stack, Run: args.Run}, withoutNote((*Simulator).replan))
}

func (resolver) RunPrioritizeSet(ctx context.Context, args struct {
	Stack, Run graphql.ID
	Prioritize bool
}) (*runOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*runOut, error) {
		r, err := s.prioritize(stackID(args.Stack), runID(args.Run), args.Prioritize)
		if err != nil {
			return nil, err
		}
		return r.out(), nil
	})
}

type discardAllOut struct {
	DiscardedRuns    []*runOut
	FailedDiscarding []graphql.ID
}

func (resolver) RunDiscardAll(ctx context.Context, args struct {
	Stack graphql.ID
	Note  *string
}) (*discardAllOut, error) {
	return with(ctx, func(s *Simulator, who actor) (*discardAllOut, error) {
		gone, err := s.discardAll(who, stackID(args.Stack), deref(args.Note))
		if err != nil {
			return nil, err
		}
		return &discardAllOut{DiscardedRuns: runsOut(gone), FailedDiscarding: []graphql.ID{}}, nil
	})
}

func runsOut(list []*run) []*runOut {
	out := make([]*runOut, 0, len(list))
	for _, r := range list {
		out = append(out, r.out())
	}
	return out
}

type reviewOut struct {
	ID        graphql.ID
	Author    string
	Decision  string
	Note      *string
	State     string
	Timestamp int32
}

func (resolver) RunReview(ctx context.Context, args struct {
	Stack    graphql.ID
	Run      *graphql.ID
	Decision string
	Note     *string
}) (*reviewOut, error) {
	return with(ctx, func(s *Simulator, who actor) (*reviewOut, error) {
		review, err := s.review(who, stackID(args.Stack), runID(deref(args.Run)), args.Decision, deref(args.Note))
		if err != nil {
			return nil, err
		}
		return &reviewOut{
			ID: graphql.ID(review.ID), Author: review.Author, Decision: review.Decision, Note: absentIfEmpty(review.Note),
			State: string(review.State), Timestamp: seconds(review.At),
		}, nil
	})
}

func (resolver) RunComment(ctx context.Context, args struct {
	Stack, Run graphql.ID
	Body       string
}) (*commentOut, error) {
	return with(ctx, func(s *Simulator, who actor) (*commentOut, error) {
		c, err := s.comment(who, stackID(args.Stack), runID(args.Run), args.Body)
		if err != nil {
			return nil, err
		}
		return &commentOut{Body: c.Body, CreatedAt: seconds(c.At), Username: c.Author}, nil
	})
}

// runtimeConfigInput is accepted and not used.
type runtimeConfigInput struct {
	hooksInput

	YAML        *string
	Environment *[]keyValue
	ProjectRoot *string
	RunnerImage *string
}

type keyValue struct{ Key, Value string }

func (resolver) RunTrigger(ctx context.Context, args struct {
	Stack         graphql.ID
	CommitSHA     *string
	RunType       *string
	RuntimeConfig *runtimeConfigInput
	ForceApply    *string
}) (*runOut, error) {
	metadata := callerOf(ctx).metadata
	return with(ctx, func(s *Simulator, who actor) (*runOut, error) {
		if args.RuntimeConfig != nil && !who.admin {
			return nil, ErrUnauthorized
		}
		r, err := s.trigger(who, Trigger{
			Stack: stackID(args.Stack), Type: spacelift.RunType(deref(args.RunType)), CommitSHA: deref(args.CommitSHA),
			ForceApply: deref(args.ForceApply), Metadata: metadata,
		})
		if err != nil {
			return nil, err
		}
		return r.out(), nil
	})
}

type batchOut struct{ Runs []*batchRunOut }

type batchRunOut struct {
	RunID graphql.ID
	Run   *runOut
}

func (resolver) RunTriggerBatch(ctx context.Context, args struct {
	Input struct {
		Stacks []struct {
			Stack     graphql.ID
			CommitSHA *string
		}
		ForceApply *string
	}
}) (*batchOut, error) {
	metadata := callerOf(ctx).metadata
	return with(ctx, func(s *Simulator, who actor) (*batchOut, error) {
		triggers := make([]Trigger, 0, len(args.Input.Stacks))
		for _, st := range args.Input.Stacks {
			triggers = append(triggers, Trigger{
				Stack: stackID(st.Stack), CommitSHA: deref(st.CommitSHA), ForceApply: deref(args.Input.ForceApply), Metadata: metadata,
			})
		}
		runs, err := s.triggerBatch(who, triggers)
		if err != nil {
			return nil, err
		}
		out := &batchOut{Runs: []*batchRunOut{}}
		for _, r := range runs {
			out.Runs = append(out.Runs, &batchRunOut{RunID: graphql.ID(r.id), Run: r.out()})
		}
		return out, nil
	})
}

func (resolver) TaskCreate(ctx context.Context, args struct {
	Stack              graphql.ID
	Command            string
	SkipInitialization *bool
}) (*runOut, error) {
	metadata := callerOf(ctx).metadata
	return with(ctx, func(s *Simulator, who actor) (*runOut, error) {
		r, err := s.createTask(who, stackID(args.Stack), args.Command, truth(args.SkipInitialization), metadata)
		if err != nil {
			return nil, err
		}
		return r.out(), nil
	})
}

type externalOut struct {
	Phantom bool
	Status  *string
}

func (resolver) RunExternalDependencyMarkAsCompleted(ctx context.Context, args struct {
	Dependency graphql.ID
	Status     string
}) (*externalOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*externalOut, error) {
		if err := s.markExternal(string(args.Dependency), args.Status); err != nil {
			return nil, err
		}
		return &externalOut{Phantom: true, Status: &args.Status}, nil
	})
}
