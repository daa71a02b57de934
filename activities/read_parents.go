package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// ReadParentsInput names a run whose stack follows others.
type ReadParentsInput struct {
	Run spacelift.RunRef `json:"run"`
	OpenWork
}

// OpenWork names the queries to Temporal for chains and runs that are open.
type OpenWork struct {
	Chains FindChainsInput `json:"chains"` // the open chains; see FindChains

	// Executions is the prefix of the workflow ids of runs. Query is the query that
	// such an execution answers with a status that has a phase; Done is the last
	// phase.
	Executions string `json:"executions"`
	Query      string `json:"query"`
	Done       string `json:"done"`
}

// Parents is the progress of the stacks that go before a run's.
type Parents struct {
	managed.ParentsProgress

	// Chains are open chains of the run's commit that its stack is part of.
	Chains []chain.Place `json:"chains,omitempty"`
}

// Bounds of what ReadParents reads: stacks upstream, and runs of each.
const (
	maxUpstream     = 20
	maxUpstreamRuns = 20
)

// ReadParents reads the progress of the stacks that go before a run's, by the
// stack's labels as they are now.
//
// If a stack upstream has no run of the commit that applied, ReadParents reads those
// above it too: a push need not reach every stack of a line. It asks open chains
// too, since a stack that waits in one has no run yet.
func (a *Activities) ReadParents(ctx context.Context, in ReadParentsInput) (Parents, error) {
	api, err := a.account(in.Run.Account)
	if err != nil {
		return Parents{}, err
	}
	run, err := api.Run(ctx, in.Run)
	if err != nil {
		return Parents{}, classify(ctx, err)
	}
	up := upstream{a: a, api: api, run: run, in: in.OpenWork}
	progress, err := up.read(ctx, up.parents(run.Ref.Stack, run.StackLabels))
	if err != nil {
		return Parents{}, err
	}
	progress.Applied = run.BeganToApply()
	if run.State.Terminal() && progress.State == managed.ParentsNewer && !progress.Applied {
		if err := up.replaced(ctx, &progress); err != nil {
			return Parents{}, err
		}
	}
	return up.chains(ctx, progress)
}

// replaced lets a run that has ended leave the rest to a newer one of its commit: that one
// releases what follows their stack.
func (u *upstream) replaced(ctx context.Context, found *managed.ParentsProgress) error {
	_, lines, err := u.runs(ctx, u.run.Ref.Stack)
	for _, l := range lines {
		if l.Ref == u.run.Ref {
			break // the others are older
		}
		if l.CommitHash == u.run.Commit.Hash && !l.DriftDetection {
			found.Of, found.Chain, found.Reason = l.Ref, true, fmt.Sprintf("run %s of the same commit has taken its place", l.Ref.Run)
			break
		}
	}
	return err
}

// chains adds the answers of open chains, after the stacks were read: a chain that
// one of their runs was about to begin is open by then.
func (u *upstream) chains(ctx context.Context, found managed.ParentsProgress) (Parents, error) {
	u.in.Chains.Run, u.in.Chains.Commit, u.in.Chains.Among = u.run.Ref, u.run.Commit.Hash, []spacelift.StackID{u.run.Ref.Stack}
	open, err := u.a.FindChains(ctx, u.in.Chains)
	if err != nil {
		return Parents{}, err
	}
	if open.Silent > 0 {
		return Parents{}, fmt.Errorf("%d open chains do not answer whether the stack %s is part of them", open.Silent, u.run.Ref.Stack)
	}
	p := Parents{ParentsProgress: found, Chains: open.Chains}
	for _, c := range open.Chains {
		if c.Waits && p.State != managed.ParentsBusy {
			p.State, p.Of, p.Chain = managed.ParentsBusy, c.Root, true
			p.Reason = fmt.Sprintf("the chain that run %s of %s began has not reached this stack: %s", c.Root.Run, c.Root.Stack, c.Reason)
		}
	}
	return p, nil
}

// upstream reads the stacks that go before a run's.
type upstream struct {
	a   *Activities
	api Spacelift
	run spacelift.Run
	in  OpenWork

	details map[spacelift.RunRef]spacelift.Run // as read so far
}

// detail reads a run once.
func (u *upstream) detail(ctx context.Context, ref spacelift.RunRef) (spacelift.Run, error) {
	run, known := u.details[ref]
	if known {
		return run, nil
	}
	run, err := u.api.Run(ctx, ref)
	if err != nil {
		return run, classify(ctx, err)
	}
	if u.details == nil {
		u.details = map[spacelift.RunRef]spacelift.Run{}
	}
	u.details[ref] = run
	return run, nil
}

// upstreamFindings is the result of a search upstream so far.
type upstreamFindings struct {
	failed, newer managed.ParentsProgress
	passed        []spacelift.RunLine // runs of the commit that finished
	gap           bool                // a stack that others go before has none that applied
}

// read reads the stacks that the run's follows, and those above stacks without a run
// of its commit that applied: a run without changes may have planned too early. Of
// its findings the first of busy, failed and newer counts.
func (u *upstream) read(ctx context.Context, next []spacelift.StackID) (managed.ParentsProgress, error) {
	var found upstreamFindings
	seen := map[spacelift.StackID]bool{u.run.Ref.Stack: true}
	for direct := len(next); len(next) > 0 && len(seen) <= maxUpstream; direct-- {
		stack := next[0]
		next = next[1:]
		if seen[stack] {
			continue
		}
		seen[stack] = true
		labels, lines, err := u.runs(ctx, stack)
		if err != nil {
			return managed.ParentsProgress{}, err
		}
		if !spacelift.Managed(labels) {
			continue
		}
		p, above, err := u.readStack(ctx, &found, stack, labels, lines)
		if err != nil || p.State == managed.ParentsBusy {
			return p, err
		}
		next = append(next, above...)
		if direct <= 0 || found.newer.State != "" {
			continue
		}
		if found.newer, err = u.appliedSince(ctx, lines); err != nil {
			return managed.ParentsProgress{}, err
		}
	}
	return u.conclude(ctx, found)
}

// readStack returns what a stack's newest runs show of the commit, and the stacks to
// read above it.
func (u *upstream) readStack(ctx context.Context, found *upstreamFindings, stack spacelift.StackID, labels []string, lines []spacelift.RunLine) (p managed.ParentsProgress, above []spacelift.StackID, err error) {
	same := slices.IndexFunc(lines, func(l spacelift.RunLine) bool {
		return !l.DriftDetection && l.CommitHash == u.run.Commit.Hash && l.CommitHash != ""
	})
	if same >= 0 {
		p = judgeParent(lines, same)
	}
	switch p.State {
	case managed.ParentsBusy:
		return p, nil, nil
	case managed.ParentsFailed:
		if found.failed.State == "" {
			found.failed = p
		}
		return p, nil, nil
	}
	if same >= 0 && lines[same].State == spacelift.RunStateFinished {
		found.passed = append(found.passed, lines[same])
		run, err := u.detail(ctx, lines[same].Ref)
		if err != nil || run.BeganToApply() && gantryConfirmed(run) {
			return managed.ParentsProgress{}, nil, err // Gantry confirmed it once all above it had finished
		}
	}
	above = u.parents(stack, labels)
	found.gap = found.gap || len(above) > 0
	return managed.ParentsProgress{}, above, nil
}

// gantryConfirmed reports whether Gantry confirmed a plan of the run.
func gantryConfirmed(run spacelift.Run) bool {
	return slices.ContainsFunc(run.History, func(t spacelift.Transition) bool {
		mark, ours := spacelift.MarkOf(t)
		return ours && mark.Verb == spacelift.VerbConfirm
	})
}

// conclude returns the finding that counts.
func (u *upstream) conclude(ctx context.Context, found upstreamFindings) (managed.ParentsProgress, error) {
	passed := found.passed
	if !found.gap {
		passed = nil
	}
	if u.run.State.Terminal() && found.newer.State != "" {
		passed = append(passed, spacelift.RunLine{Ref: found.newer.Of}) // its chain reaches this stack too
	}
	for _, line := range passed {
		if p, err := u.begins(ctx, line.Ref); err != nil || p.State == managed.ParentsBusy {
			return p, err
		}
	}
	for _, p := range []managed.ParentsProgress{found.failed, found.newer} {
		if p.State != "" {
			return p, nil
		}
	}
	return managed.ParentsProgress{State: managed.ParentsThrough}, nil
}

func (u *upstream) parents(stack spacelift.StackID, labels []string) []spacelift.StackID {
	return chain.ParentsOf(stack, u.a.definitions().Resolve(policy.Labelled(labels)).After.Value)
}

// runs reads a stack's newest tracked runs, and its labels. A stack that does not
// exist has neither.
func (u *upstream) runs(ctx context.Context, stack spacelift.StackID) (labels []string, lines []spacelift.RunLine, err error) {
	labels, lines, err = runsOf(ctx, u.api, stack, maxUpstreamRuns)
	if errors.Is(err, spacelift.ErrNotFound) {
		err = nil
	}
	return labels, lines, err
}

// judgeParent judges what a stack's newest run of a commit, lines[same], means for a
// run of the same commit. A newer run that finished makes up for one that did not.
func judgeParent(lines []spacelift.RunLine, same int) managed.ParentsProgress {
	line := lines[same]
	switch {
	case !line.State.Terminal():
		return managed.ParentsProgress{State: managed.ParentsBusy, Of: line.Ref, Reason: fmt.Sprintf("run %s of %s works on the same commit and has not ended", line.Ref.Run, line.Ref.Stack)}
	case line.State == spacelift.RunStateFinished, line.State == spacelift.RunStateSkipped:
		return managed.ParentsProgress{}
	}
	for _, l := range lines[:same] {
		if l.State == spacelift.RunStateFinished && !l.DriftDetection {
			return managed.ParentsProgress{}
		}
	}
	return managed.ParentsProgress{State: managed.ParentsFailed, Of: line.Ref, Reason: fmt.Sprintf("run %s of %s, which works on the same commit, ended in %s", line.Ref.Run, line.Ref.Stack, line.State)}
}

// begins returns that they are busy while the execution of a run that has ended upstream is open:
// it may be about to begin the chain that reaches the stacks between.
func (u *upstream) begins(ctx context.Context, run spacelift.RunRef) (managed.ParentsProgress, error) {
	status, exists, err := query[struct {
		Phase string `json:"phase"`
	}](ctx, u.a, u.in.Executions+run.String(), "", u.in.Query)
	switch {
	case err != nil:
		return managed.ParentsProgress{}, fmt.Errorf("query whether run %s begins a chain: %w", run, err)
	case !exists, status.Phase == u.in.Done:
		return managed.ParentsProgress{}, nil
	}
	return managed.ParentsProgress{State: managed.ParentsBusy, Of: run, Reason: fmt.Sprintf("run %s of %s, which goes first, is about to release what follows it", run.Run, run.Stack)}, nil
}

// appliedSince finds a run that applied changes and ended after the plan began. A
// run that failed while it applied counts, and so does a repair of drift. A stack's
// runs end in their order, so the first one that ended earlier ends the search.
func (u *upstream) appliedSince(ctx context.Context, lines []spacelift.RunLine) (managed.ParentsProgress, error) {
	planned := u.run.PlannedAt()
	if planned.IsZero() {
		return managed.ParentsProgress{}, nil
	}
	for _, line := range lines {
		if line.State != spacelift.RunStateFinished && line.State != spacelift.RunStateFailed {
			continue
		}
		run, err := u.detail(ctx, line.Ref)
		if err != nil {
			return managed.ParentsProgress{}, err
		}
		end, _ := run.End()
		switch {
		case !planned.Before(end.At.Truncate(time.Second)):
			return managed.ParentsProgress{}, nil
		case run.BeganToApply():
			return managed.ParentsProgress{State: managed.ParentsNewer, Of: run.Ref, Reason: fmt.Sprintf("run %s of %s has applied changes since the plan was made", run.Ref.Run, run.Ref.Stack)}, nil
		}
	}
	return managed.ParentsProgress{}, nil
}
