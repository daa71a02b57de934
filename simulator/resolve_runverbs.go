package simulator

import (
	"context"

	"github.com/graph-gophers/graphql-go"

	"github.com/gantryhq/gantry/spacelift"
)

// runArgs are the arguments of fields that act on a run. Not every field has all
// of them; without a run, some act on the run that holds the stack.
type runArgs struct {
	Stack   graphql.ID
	Run     idInput
	Note    *string
	Targets lines
}

// verb is an action of the simulator on a run.
type verb func(s *Simulator, who actor, stack spacelift.StackID, run spacelift.RunID, note string) (*run, error)

func (args runArgs) do(ctx context.Context, act verb) (*runOut, error) {
	return answer(ctx, func(s *Simulator, who actor) (*run, error) {
		return act(s, who, stackID(args.Stack), spacelift.RunID(args.Run), deref(args.Note))
	})
}

// withoutNote fits verbs that take none.
func withoutNote(act func(*Simulator, actor, spacelift.StackID, spacelift.RunID) (*run, error)) verb {
	return func(s *Simulator, who actor, stack spacelift.StackID, run spacelift.RunID, _ string) (*run, error) {
		return act(s, who, stack, run)
	}
}

func (resolver) RunConfirm(ctx context.Context, args runArgs) (*runOut, error) {
	metadata := callerOf(ctx).metadata
	return args.do(ctx, func(s *Simulator, who actor, stack spacelift.StackID, id spacelift.RunID, note string) (*run, error) {
		return s.confirm(who, stack, id, note, metadata)
	})
}

func (resolver) RunDiscard(ctx context.Context, args runArgs) (*runOut, error) {
	return args.do(ctx, (*Simulator).discard)
}

func (resolver) RunCancel(ctx context.Context, args runArgs) (*runOut, error) {
	return args.do(ctx, (*Simulator).cancelRun)
}

func (resolver) RunStop(ctx context.Context, args runArgs) (*runOut, error) {
	return args.do(ctx, (*Simulator).stop)
}

func (resolver) RunKill(ctx context.Context, args runArgs) (*runOut, error) {
	return args.do(ctx, (*Simulator).kill)
}

func (resolver) RunRetry(ctx context.Context, args runArgs) (*runOut, error) {
	return args.do(ctx, withoutNote((*Simulator).retry))
}

func (resolver) RunPromote(ctx context.Context, args runArgs) (*runOut, error) {
	return args.do(ctx, withoutNote((*Simulator).promote))
}

// RunTargetedReplan plans what ChangePlan has scripted, whatever the targets.
func (resolver) RunTargetedReplan(ctx context.Context, args runArgs) (*runOut, error) {
	return args.do(ctx, withoutNote((*Simulator).replan))
}

func (resolver) RunPrioritizeSet(ctx context.Context, args struct {
	Stack, Run graphql.ID
	Prioritize bool
}) (*runOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*run, error) {
		return s.prioritize(stackID(args.Stack), runID(args.Run), args.Prioritize)
	})
}

// discardedRuns is a list of runs that answers show as runDiscardAll does.
type discardedRuns []*run

type discardAllOut struct {
	DiscardedRuns    []*runOut
	FailedDiscarding []graphql.ID
}

func (list discardedRuns) out(s *Simulator, who actor) *discardAllOut {
	return &discardAllOut{DiscardedRuns: outs(list, s, who)}
}

func (resolver) RunDiscardAll(ctx context.Context, args struct {
	Stack graphql.ID
	Note  *string
}) (*discardAllOut, error) {
	return answer(ctx, func(s *Simulator, who actor) (discardedRuns, error) {
		return s.discardAll(who, stackID(args.Stack), deref(args.Note))
	})
}

type reviewOut struct {
	ID        graphql.ID
	Author    string
	Decision  string
	Note      *string
	State     string
	Timestamp int32
}

func (r Review) out(*Simulator, actor) *reviewOut {
	return &reviewOut{
		ID: graphql.ID(r.ID), Author: r.Author, Decision: r.Decision, Note: absentIfEmpty(r.Note), State: string(r.State), Timestamp: seconds(r.At),
	}
}

func (resolver) RunReview(ctx context.Context, args struct {
	Stack    graphql.ID
	Run      *graphql.ID
	Decision string
	Note     *string
}) (*reviewOut, error) {
	return answer(ctx, func(s *Simulator, who actor) (Review, error) {
		return s.review(who, stackID(args.Stack), runID(deref(args.Run)), args.Decision, deref(args.Note))
	})
}

func (resolver) RunComment(ctx context.Context, args struct {
	Stack, Run graphql.ID
	Body       string
}) (*commentOut, error) {
	return answer(ctx, func(s *Simulator, who actor) (Comment, error) {
		return s.comment(who, stackID(args.Stack), runID(args.Run), args.Body)
	})
}

// runtimeConfigInput is accepted and not used.
type runtimeConfigInput struct {
	Hooks

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
	return answer(ctx, func(s *Simulator, who actor) (*run, error) {
		if args.RuntimeConfig != nil && !who.admin {
			return nil, ErrUnauthorized
		}
		return s.trigger(who, Trigger{
			Stack: stackID(args.Stack), Type: spacelift.RunType(deref(args.RunType)), CommitSHA: deref(args.CommitSHA),
			ForceApply: deref(args.ForceApply), Metadata: metadata,
		})
	})
}

// batch is a list of runs that answers show as runTriggerBatch does.
type batch []*run

type batchOut struct{ Runs []*batchRunOut }

type batchRunOut struct {
	RunID graphql.ID
	Run   *runOut
}

func (runs batch) out(s *Simulator, who actor) *batchOut {
	out := &batchOut{}
	for _, r := range runs {
		out.Runs = append(out.Runs, &batchRunOut{RunID: graphql.ID(r.ID), Run: r.out(s, who)})
	}
	return out
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
	triggers := make([]Trigger, 0, len(args.Input.Stacks))
	for _, st := range args.Input.Stacks {
		triggers = append(triggers, Trigger{
			Stack: stackID(st.Stack), CommitSHA: deref(st.CommitSHA), ForceApply: deref(args.Input.ForceApply), Metadata: callerOf(ctx).metadata,
		})
	}
	return answer(ctx, func(s *Simulator, who actor) (batch, error) { return s.triggerBatch(who, triggers) })
}

func (resolver) TaskCreate(ctx context.Context, args struct {
	Stack              graphql.ID
	Command            string
	SkipInitialization flag
}) (*runOut, error) {
	metadata := callerOf(ctx).metadata
	return answer(ctx, func(s *Simulator, who actor) (*run, error) {
		return s.createTask(who, stackID(args.Stack), args.Command, bool(args.SkipInitialization), metadata)
	})
}

// completion is the state of an external dependency.
type completion string

type externalOut struct {
	Phantom bool
	Status  *string
}

func (c completion) out(*Simulator, actor) *externalOut {
	return &externalOut{Phantom: true, Status: new(string(c))}
}

func (resolver) RunExternalDependencyMarkAsCompleted(ctx context.Context, args struct {
	Dependency graphql.ID
	Status     string
}) (*externalOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (completion, error) {
		return completion(args.Status), s.markExternal(string(args.Dependency), args.Status)
	})
}
