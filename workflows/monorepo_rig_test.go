package workflows

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// monorepo is a repository of stacks that follow each other, the executions of
// their runs and the chains that those begin: the cores that decide, and the
// activities that read and trigger, against a simulated Spacelift. A story says
// who moves next, and which answers and news get lost.
type monorepo struct {
	activities.Spacelift // what the activities call is below

	fatal  func(format string, args ...any)
	sim    *simulator.Simulator
	clock  *simulator.ManualClock
	env    *testsuite.TestActivityEnvironment
	acts   *activities.Activities
	after  map[spacelift.StackID][]spacelift.StackID
	stacks []spacelift.StackID

	runs   map[spacelift.RunRef]*runThere
	order  []spacelift.RunRef
	chains []*chain.Chain

	replaced map[spacelift.RunRef]spacelift.Run // by the run that took the place
	made     map[spacelift.RunRef]string        // the commit of the chain that triggered a run
	making   string                             // that of the chain that acts now
	loses    func(what string) bool             // whether something gets lost now
	confirms []confirmed
}

// runThere is the execution of a run.
type runThere struct {
	rec   managed.Record
	ended bool
}

// confirmed is a confirmation of Gantry's.
type confirmed struct {
	Run spacelift.RunRef
	For string // the commit on account of which it was
}

const ourKey = "api::gantry"

// newMonorepo makes a repository. Stacks read "app<net,dns".
func newMonorepo(fatal func(string, ...any), loses func(string) bool, stacks ...string) *monorepo {
	m := &monorepo{
		fatal: fatal, clock: simulator.NewManualClock(time.Date(2037, 1, 1, 10, 0, 0, 0, time.UTC)),
		after: map[spacelift.StackID][]spacelift.StackID{}, runs: map[spacelift.RunRef]*runThere{}, replaced: map[spacelift.RunRef]spacelift.Run{}, made: map[spacelift.RunRef]string{}, loses: loses,
	}
	m.sim = simulator.New(simulator.Options{Account: "acme", Seed: 1, Clock: m.clock, Phases: simulator.Phases{
		spacelift.RunStatePlanning: 10 * time.Second, spacelift.RunStateApplying: 10 * time.Second,
	}})
	for _, s := range stacks {
		id, parents, _ := strings.Cut(s, "<")
		labels := []string{"gantry:managed", "gantry:confirm=auto"}
		for p := range strings.SplitSeq(parents, ",") {
			if p != "" {
				labels = append(labels, "gantry:after="+p)
				m.after[spacelift.StackID(id)] = append(m.after[spacelift.StackID(id)], spacelift.StackID(p))
			}
		}
		m.stacks = append(m.stacks, spacelift.StackID(id))
		m.must(m.sim.AddStack(simulator.Stack{ID: spacelift.StackID(id), Labels: labels}))
	}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(silent{})
	m.env = suite.NewTestActivityEnvironment()
	m.env.SetTestTimeout(time.Minute)
	m.acts = &activities.Activities{Accounts: map[spacelift.Account]activities.Spacelift{"acme": m}, Temporal: placesOf{m: m}, Now: m.clock.Now}
	m.env.RegisterActivity(m.acts)
	return m
}

type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}

func (m *monorepo) must(err error) {
	if err != nil {
		m.fatal("%v", err)
	}
}

func (m *monorepo) now() time.Time { return m.clock.Now().UTC() }

// does carries out an activity.
func does[T any](m *monorepo, activity, in any) (result T, err error) {
	value, err := m.env.ExecuteActivity(activity, in)
	if err == nil {
		err = value.Get(&result)
	}
	return result, err
}

// push makes the runs of a push. Notifications of them arrive.
func (m *monorepo) push(commit string, plan simulator.Plan, stack spacelift.StackID) {
	_, err := m.sim.Push(stack, simulator.Commit{Hash: commit}, plan)
	m.must(err)
	m.notices()
}

// notices starts the executions of runs that have none yet, as their first
// notification does.
func (m *monorepo) notices() {
	for _, stack := range m.stacks {
		all, err := m.sim.Runs(stack)
		m.must(err)
		for _, r := range all {
			m.manage(r.Ref, nil)
		}
	}
}

// manage starts the execution of a run, or signals its chains to it.
func (m *monorepo) manage(ref spacelift.RunRef, chains []managed.ChainRef) {
	r := m.runs[ref]
	if r == nil {
		r = &runThere{rec: managed.Record{Run: ref, StartedAt: m.now()}}
		m.runs[ref] = r
		m.order = append(m.order, ref)
	}
	if !r.ended {
		r.rec.Join(chains)
	}
}

func (m *monorepo) signalChains(chains []managed.ChainRef, news chain.News) {
	for _, ref := range chains {
		for _, c := range m.chains {
			if c.Root == ref.Root && c.EndedAt.IsZero() && !m.loses("news") {
				c.Take(m.now(), news)
			}
		}
	}
}

// acts lets the execution of a run do all that it can do now.
func (m *monorepo) runActs(ref spacelift.RunRef) {
	r := m.runs[ref]
	rec, at := &r.rec, m.now()
	if r.ended {
		return
	}
	run, err := m.sim.Run(ref.Stack, ref.Run)
	m.must(err)
	rec.Learn(at, run.Run)
	for range 30 {
		rec.Arrive(at)
		s := rec.Situation(at)
		switch n := s.Next(); n.Do {
		case managed.DoRules:
			rec.TakeRules(at, managed.Rules{Labels: s.Labels, Policy: (*policy.Definitions)(nil).Resolve(policy.Labelled(s.Labels)).Of(ref.Stack), Gate: policy.Gate{Open: true}}, s.Ask != nil)
			rec.ConsiderRetry(at)
		case managed.DoRead:
			rec.Compare(at, run.Run)
		case managed.DoParents:
			m.readsParents(rec)
		case managed.DoReplace:
			result, err := does[activities.ReplaceRunResult](m, m.acts.ReplaceRun, activities.ReplaceRunInput{Run: ref, StateVersion: s.StateVersion})
			if err != nil || result.Outcome != managed.ActDone {
				return // it tries again
			}
			rec.ReplacedBy(at, result.New)
			m.replaced[result.New] = run.Run
			chains := s.Released()
			m.manage(result.New, chains)
			m.signalChains(chains, chain.News{Run: result.New})
		case managed.DoDiscard:
			rec.Send(s.Key(), n)
			m.must(m.sim.Discard(ourKey, ref.Stack, ref.Run, n.Note))
			rec.Acted(at, s.Key(), n, managed.ActResult{Outcome: managed.ActDone, Verb: "discard", Run: run.Run})
			run, err = m.sim.Run(ref.Stack, ref.Run)
			m.must(err)
			rec.Learn(at, run.Run)
		case managed.DoConfirm:
			m.checks(run.Run)
			rec.Send(s.Key(), n)
			m.must(m.sim.Confirm(ourKey, ref.Stack, ref.Run, n.Note))
			m.confirms = append(m.confirms, confirmed{ref, m.accountOf(run.Run)})
			rec.Confirmed(at, managed.Confirmation(s, n), managed.ConfirmResult{Outcome: managed.Confirmed})
			return
		case managed.DoDiagnose:
			rec.Diagnosed, rec.Failure = true, &managed.Failure{Cause: policy.CauseUnknown}
		case managed.DoRelease:
			if key := s.Key(); s.LeavesReleasing() != "" {
				rec.Released = &key
				continue
			}
			rec.BeginChain(s.Key())
			c := chain.New(ref, at)
			c.Commit = s.Commit.Hash
			m.chains = append(m.chains, &c)
		case managed.DoNotifyChains:
			m.signalChains(s.Released(), chain.News{Run: ref, State: s.State})
			rec.ChainsTold = new(s.Key())
		case managed.DoSignalWaiting:
			rec.SignalWaiting(s.Key())
		case managed.DoFinish:
			r.ended = true
			return
		default:
			return
		}
	}
	m.fatal("the execution of %s does not settle: %s", ref, rec.Situation(at).Next().Reason)
}

func (m *monorepo) readsParents(rec *managed.Record) {
	found, err := does[activities.Parents](m, m.acts.ReadParents, activities.ReadParentsInput{Run: rec.Run, OpenWork: openWork(rec.Run.Account)})
	m.must(err)
	rec.TakeParents(m.now(), found.ParentsProgress)
	var joined []managed.ChainRef
	for _, c := range found.Chains {
		if c.Open && !c.Waits && !slices.ContainsFunc(rec.Chains, func(k managed.ChainRef) bool { return k.Root == c.Root }) {
			joined = append(joined, refOf(c))
		}
	}
	rec.Join(joined)
	rec.Parents.Stale = false
	m.signalChains(joined, chain.News{Run: rec.Run, State: rec.Facts().State})
}

// accountOf is the commit on account of which a run is there: its own where a push
// made it, that of the chain that triggered it, or that of the run whose place it
// took.
func (m *monorepo) accountOf(run spacelift.Run) string {
	if old, ok := m.replaced[run.Ref]; ok && run.TriggeredBy != "" {
		return m.accountOf(old)
	}
	if made := m.made[run.Ref]; made != "" {
		return made
	}
	return run.Commit.Hash
}

// checks fails where Gantry must not confirm a run now: while a stack upstream
// works on its commit, below one that failed to, and on a plan from before a
// stack that goes first applied changes.
func (m *monorepo) checks(run spacelift.Run) {
	for _, p := range m.after[run.Ref.Stack] {
		all, err := m.sim.Runs(p)
		m.must(err)
		for _, r := range all {
			if end, ended := r.End(); ended && r.BeganToApply() && end.At.Truncate(time.Second).After(run.PlannedAt()) {
				m.fatal("%s is confirmed on a plan of %s, and %s applied until %s", run.Ref, run.PlannedAt(), r.Ref, end.At)
			}
		}
	}
	seen := map[spacelift.StackID]bool{}
	for next := slices.Clone(m.after[run.Ref.Stack]); len(next) > 0; next = next[1:] {
		if seen[next[0]] {
			continue
		}
		seen[next[0]] = true
		all, err := m.sim.Runs(next[0])
		m.must(err)
		same := -1
		for i, r := range all {
			if r.Commit.Hash == run.Commit.Hash && r.TriggeredBy != ourKey || r.Commit.Hash == run.Commit.Hash && same >= 0 {
				same = i
			}
		}
		if same < 0 {
			next = append(next, m.after[next[0]]...)
			continue
		}
		newer := slices.ContainsFunc(all[same:], func(r simulator.Run) bool { return r.State == spacelift.RunStateFinished })
		if !all[same].State.Terminal() || !newer {
			m.fatal("%s is confirmed, and %s, of the same commit, is %s", run.Ref, all[same].Ref, all[same].State)
		}
	}
}

// chainActs lets a chain do all that it can do now.
func (m *monorepo) chainActs(c *chain.Chain) {
	for range 200 {
		at := m.now()
		n := chain.Decide(c, at)
		c.Apply(at, n)
		switch {
		case n.Finish:
			return
		case len(n.Read) > 0:
			for _, ref := range n.Read {
				m.reads(c, ref)
			}
		case len(n.Newer) > 0:
			for _, ref := range n.Newer {
				found, err := does[activities.Successor](m, m.acts.ReadSuccessor, ref)
				m.must(err)
				c.Observe(at, found.Run)
				if found.Newer.Run != "" {
					c.RecordNewer(at, found.Newer)
				}
			}
		case n.Graph:
			m.readsGraph(c)
		case len(n.Trigger) > 0:
			m.triggers(c, n.Trigger[0])
		default:
			return
		}
	}
	m.fatal("chain %s does not settle: %s", c.Root, chain.Decide(c, m.now()).Reason)
}

func (m *monorepo) reads(c *chain.Chain, ref spacelift.RunRef) {
	run, err := m.sim.Run(ref.Stack, ref.Run)
	m.must(err)
	c.Observe(m.now(), run.Run)
}

func (m *monorepo) readsGraph(c *chain.Chain) {
	graph, err := does[chain.Graph](m, m.acts.ReadChain, activities.ReadChainInput{Account: "acme", Root: c.Root.Stack})
	m.must(err)
	graph.Notify, graph.Refused = nil, nil
	for i := range graph.Stacks {
		graph.Stacks[i].Notify = nil
	}
	c.TakeGraph(m.now(), graph)
}

func (m *monorepo) triggers(c *chain.Chain, i int) {
	released, node := c.ReleaseOf(i), &c.Nodes[i]
	node.Releasing = true
	c.Apply(m.now(), chain.Decide(c, m.now()))
	m.making = c.Commit
	defer func() { m.making = "" }()
	result, err := does[activities.TriggerFollowerResult](m, m.acts.TriggerFollower, activities.TriggerFollowerInput{
		Account: "acme", Stack: node.Stack, After: released.After, Labels: node.Labels, Begun: released.Begun, Commit: c.Commit,
		Ended: released.Ended, Applied: released.Applied, Void: released.Void, OpenWork: openWork("acme"),
	})
	switch {
	case err != nil:
		c.RecordFailure(m.now(), node.Stack, err.Error())
	case result.Outcome == activities.FollowHeld:
		c.RecordFailure(m.now(), node.Stack, result.Reason)
	case result.Outcome == activities.FollowWaits:
		c.RecordWait(m.now(), node.Stack, result.Reason)
	case result.Outcome == activities.FollowTriggered, result.Outcome == activities.FollowAdopted:
		c.RecordTriggered(m.now(), result.Run, howTriggered(result), result.Keeps)
		if !m.loses("chain") {
			m.manage(result.Run, []managed.ChainRef{{Root: c.Root, After: c.Parents(node), TriggeredBy: c.Triggerers(node)}})
		}
		m.reads(c, result.Run)
	default:
		m.fatal("%s: %+v", node.Stack, result)
	}
}

// Run answers like Spacelift's API, and so do those below.
func (m *monorepo) Run(_ context.Context, ref spacelift.RunRef) (spacelift.Run, error) {
	run, err := m.sim.Run(ref.Stack, ref.Run)
	if err != nil {
		return spacelift.Run{}, spacelift.ErrNotFound
	}
	st, err := m.sim.Stack(ref.Stack)
	run.StackLabels = st.Labels
	return run.Run, err
}

func (m *monorepo) RunsOfStack(_ context.Context, stack spacelift.StackID, _ spacelift.RunType, limit int) (found spacelift.Listing[spacelift.RunLine], err error) {
	all, err := m.sim.Runs(stack)
	if err != nil {
		return found, err
	}
	st, err := m.sim.Stack(stack)
	for _, r := range slices.Backward(all) {
		if len(found.Items) < limit {
			found.Items = append(found.Items, spacelift.RunLine{
				Ref: r.Ref, Type: r.Type, State: r.State, CommitHash: r.Commit.Hash, TriggeredBy: r.TriggeredBy, CreatedAt: r.CreatedAt, StackLabels: st.Labels,
			})
		}
	}
	return found, err
}

func (m *monorepo) Stack(_ context.Context, id spacelift.StackID) (spacelift.Stack, error) {
	st, err := m.sim.Stack(id)
	return spacelift.Stack{ID: id, Labels: st.Labels}, err
}

func (m *monorepo) LabelsOfStacks(context.Context) (found []spacelift.LabelledStack, err error) {
	for _, id := range m.stacks {
		s, err := m.sim.Stack(id)
		if err != nil {
			return found, err
		}
		found = append(found, spacelift.LabelledStack{ID: id, Labels: s.Labels})
	}
	return found, nil
}

func (m *monorepo) Viewer(context.Context) (spacelift.Viewer, error) {
	return spacelift.Viewer{ID: ourKey}, nil
}

func (m *monorepo) TriggerRun(_ context.Context, stack spacelift.StackID, how spacelift.Trigger) (spacelift.RunOutcome, error) {
	if m.loses("trigger") {
		return spacelift.RunOutcome{}, fmt.Errorf("trigger run of stack %s: %w", stack, spacelift.ErrAmbiguous)
	}
	m.must(m.sim.SetNextPlan(stack, simulator.Plan{Delta: spacelift.Delta{Added: 1}}))
	id, err := m.sim.Trigger(ourKey, simulator.Trigger{Stack: stack, CommitSHA: how.CommitSHA})
	m.must(err)
	m.made[spacelift.RunRef{Account: "acme", Stack: stack, Run: id}] = m.making
	if m.loses("answer") {
		return spacelift.RunOutcome{}, fmt.Errorf("trigger run of stack %s: %w", stack, spacelift.ErrAmbiguous)
	}
	return spacelift.RunOutcome{Ref: spacelift.RunRef{Account: "acme", Stack: stack, Run: id}}, nil
}

func (m *monorepo) CancelRun(_ context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	return spacelift.RunOutcome{Ref: ref}, m.sim.Cancel(ourKey, ref.Stack, ref.Run, note)
}

// placesOf is a Temporal whose chains answer with the place of a run in them.
type placesOf struct {
	activities.Temporal

	m *monorepo
}

func (t placesOf) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	var page workflowservice.ListWorkflowExecutionsResponse
	for _, c := range t.m.chains {
		if c.EndedAt.IsZero() {
			page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: managed.ChainID(c.Root)}})
		}
	}
	return &page, nil
}

func (t placesOf) QueryWorkflow(_ context.Context, id, _, _ string, args ...any) (converter.EncodedValue, error) {
	for ref, r := range t.m.runs {
		if managed.ManageRunID(ref) == id {
			phase := managed.PhaseApplying
			if r.ended {
				phase = managed.PhaseDone
			}
			return encodedValue{encodedOf(managed.RunStatus{Phase: phase})}, nil
		}
	}
	if len(args) == 0 {
		return nil, serviceerror.NewNotFound("no execution " + id)
	}
	asked := args[0].(chain.PlaceQuestion)
	for _, c := range t.m.chains {
		if managed.ChainID(c.Root) == id {
			return encodedValue{encodedOf(c.Place(asked.Run, asked.Commit))}, nil
		}
	}
	return nil, serviceerror.NewNotFound("no execution " + id)
}

func encodedOf(v any) *commonpb.Payloads {
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(v)
	if err != nil {
		panic(err)
	}
	return payloads
}

type encodedValue struct{ payloads *commonpb.Payloads }

func (encodedValue) HasValue() bool { return true }
func (e encodedValue) Get(to any) error {
	return converter.GetDefaultDataConverter().FromPayloads(e.payloads, to)
}
