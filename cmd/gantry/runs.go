package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newRunsCommand() *cobra.Command {
	runs := &cobra.Command{
		Use:   "runs",
		Short: "Show runs and decide about them",
		Long: `A run is named ACCOUNT/STACK/RUN, by the beginning of its id, or by its address in Spacelift's own pages. A stack
names its newest run, and for approve, reject and revoke the one that waits for people.

Each command asks the Gantry at --url, with the rights of the token.`,
	}
	r := remoteFlags(runs)
	runs.AddCommand(newRunsListCommand(r), newRunsShowCommand(r), newRunsWatchCommand(r), newRunsExplainCommand(r), newResourcesCommand(r), newRunsOpenCommand(r))
	for _, v := range decisions {
		runs.AddCommand(newDecideCommand(r, v))
	}
	runs.AddCommand(newRetryCommand(r), newStopCommand(r))
	return runs
}

func newRunsListCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List managed runs, newest first", Args: cobra.NoArgs, Example: "  gantry runs list --phase waiting --space production"}
	f := cmd.Flags()
	account := accountFilter(r, cmd)
	p := api.ListRunsParams{Stack: new(string), Label: new(string), Space: new(string), Author: new(string), Commit: new(string), Held: new(bool), Bypassed: new(bool)}
	f.StringVar(p.Stack, "stack", "", "only runs of stacks with this id; * stands for any text")
	f.StringVar(p.Label, "label", "", "only runs of stacks with this label")
	f.StringVar(p.Space, "space", "", "only runs of stacks in this space or below it")
	f.StringVar(p.Author, "author", "", "only runs that this person triggered or wrote; me for you")
	f.StringVar(p.Commit, "commit", "", "only runs whose commit begins so")
	state := stateFlag(cmd)
	phase := choiceFlag(cmd, "phase", "only runs in this phase, such as waiting", phases...)
	waits := choiceFlag(cmd, "waiting", "only runs that wait for this; any for anything but Spacelift's and Gantry's own work", "any", "person", "labels", "answer", "gate", "retry", "chain", "stack", "policy")
	f.BoolVar(p.Held, "held", false, "only runs that something other than people keeps from moving on")
	f.BoolVar(p.Bypassed, "bypassed", false, "only runs of which a plan was applied against its policy")
	mine := f.Bool("mine", false, "only runs that you may approve now")
	since := f.String("since", "", "only runs that began at or after this time, or within a duration such as 2h")
	until := f.String("until", "", "only runs that began before this time, or longer ago than a duration such as 2h")
	order := choiceFlag(cmd, "order", "newest first, or oldest: the longest wait first", string(api.ListRunsParamsOrderNewest), string(api.ListRunsParamsOrderOldest))
	completeStacks(r, cmd)
	limit := pagingFlags(cmd)
	listing(r, cmd, runEvents, func(ctx context.Context, s *session, _ []string) (list api.RunList, err error) {
		q := api.ListRunsParams{
			Account: given(cmp.Or(*account, s.account)), Stack: given(*p.Stack), Label: given(*p.Label), Space: given(*p.Space), Author: given(*p.Author), Commit: given(*p.Commit), State: given(*state),
			Phase: given(api.Phase(*phase)), Waiting: given(*waits), Held: given(*p.Held), Bypassed: given(*p.Bypassed), Order: given(api.ListRunsParamsOrder(*order)),
		}
		if *mine {
			q.CanDecide = new(api.ListRunsParamsCanDecideMe)
		}
		if q.Since, q.Until, err = period(*since, *until); err != nil {
			return list, err
		}
		return s.runs(ctx, q, limit.most())
	}, printRuns)
	return cmd
}

func printRuns(s *session, list api.RunList) error {
	t := s.List("runs", []output.Column{
		{Title: "STACK"}, {Title: "TYPE", Wide: true}, {Title: "STATE", Tone: toneOf}, {Title: "PHASE", Wide: true}, {Title: "PLAN", Tone: toneOfPlan, Drop: 1},
		{Title: "AUTHOR", Drop: 3}, {Title: "STARTED"}, {Title: "ENDED", Drop: 2}, {Title: "WHY", Wraps: true}, {Title: "WHO", Wraps: true, Drop: 5}, {Title: "RUN", Drop: 4},
	})
	for _, run := range list.Runs {
		w := deref(run.WaitingFor)
		t.Row(run.Account+"/"+run.Stack, run.Type, run.State, string(run.Phase), deltaOf(run.Delta, ""), authorOf(run), s.When(&run.StartedAt), s.When(run.EndedAt), w.Reason, deref(w.Who), run.Run)
	}
	return t.Flush()
}

// phases are the phases of a run, roughly in their order.
var phases = []string{"queued", "planning", "waiting", "holding", "confirming", "applying", "retrying", "following", "done"}

// maxPage is the length of Gantry's longest pages.
const maxPage = 200

// pages reads pages up to the limit. If there are more items it returns the token
// of the next page as well.
func pages[T any](limit int, page func(size *int, token *string) ([]T, *string, error)) (all []T, next *string, err error) {
	all = []T{}
	for items, err := range gantry.Pages(&next, func() ([]T, *string, error) { return page(new(min(limit-len(all), maxPage)), next) }) {
		if err != nil {
			return nil, nil, err
		}
		if all = append(all, items...); len(all) >= limit {
			break
		}
	}
	return all, next, nil
}

func (s *session) runs(ctx context.Context, p api.ListRunsParams, limit int) (all api.RunList, err error) {
	all.Runs, all.NextPageToken, err = pages(limit, func(size *int, token *string) ([]api.RunSummary, *string, error) {
		p.PageSize, p.PageToken = size, token
		page, err := gantry.Answer[api.RunList](s.ListRuns(ctx, &p))
		return page.Runs, page.NextPageToken, err
	})
	return all, err
}

func newRunsShowCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "show RUN", Short: "Show one run", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(runOrStackNames, true)}
	timeline := cmd.Flags().Bool("timeline", false, "show the whole timeline, not only its end")
	cmd.RunE = answering(r, func(ctx context.Context, s *session, args []string) (api.Run, error) {
		name, err := s.named(ctx, args[0], newest)
		if err != nil {
			return api.Run{}, err
		}
		return s.run(ctx, name)
	}, func(s *session, run api.Run) error { return printRun(s, run, *timeline) })
	return cmd
}

// about connects a command that concerns one run.
func (r *remote) about(cmd *cobra.Command, args []string, of ofStack) (*session, runName, error) {
	s, err := r.connect(cmd)
	if err != nil {
		return nil, runName{}, err
	}
	name, err := s.named(cmd.Context(), args[0], of)
	return s, name, err
}

func (s *session) run(ctx context.Context, n runName) (api.Run, error) {
	return gantry.Answer[api.Run](s.GetRun(ctx, n.account, n.stack, n.run))
}

// lastEntries bounds the entries of a timeline that are printed without --timeline.
const lastEntries = 10

func printRun(s *session, run api.Run, timeline bool) error {
	t := s.Facts()
	t.Fact("Run", runName{run.Account, run.Stack, run.Run}.String())
	t.Fact("Page", deref(run.URL))
	t.Fact("Stack", deref(run.StackName))
	t.Fact("Type", run.Type)
	t.Fact("State", fmt.Sprintf("%s (state version %d)", run.State, run.StateVersion))
	t.Fact("Phase", string(run.Phase))
	s.addWaiting(t, run.WaitingFor, "")
	t.Fact("Outcome", deref(run.Outcome))
	t.Fact("Plan", planOf(run))
	addResources(t, run.Resources)
	if c := run.Commit; c != nil {
		hash := deref(c.Hash)
		t.Fact("Commit", strings.TrimSpace(hash[:min(len(hash), 9)]+" "+firstLine(deref(c.Message))+inBrackets(deref(c.AuthorName))))
	}
	t.Fact("Triggered by", deref(run.TriggeredBy))
	s.addApprovals(t, run.Approvals)
	if g := run.Gate; g != nil && !g.Open {
		t.Fact("Gate", "closed: "+deref(g.Reason))
	}
	if f := run.Failure; f != nil {
		t.Fact("Failure", f.Cause+inBrackets(deref(f.Evidence)))
	}
	if retry := run.Retry; retry != nil {
		t.Fact("Retry", fmt.Sprintf("attempt %d of %d, %s: %s", retry.Attempt, retry.Of, s.When(&retry.At), retry.Reason))
	}
	if of := run.RetryOf; of != nil {
		t.Fact("Retry of", fmt.Sprintf("%s, by %s", of.Run, of.By))
	}
	addChains(t, run.Run, run.Chains)
	t.Fact("Followed by", strings.Join(run.Followers, ", "))
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.Out)
	if err := printPolicy(s, run.Policy); err != nil {
		return err
	}
	entries := run.Timeline
	if skipped := len(entries) - lastEntries; skipped > 0 && !timeline {
		entries = entries[skipped:]
	}
	fmt.Fprintln(s.Out)
	t = s.Table([]output.Column{{Title: "TIME"}, {Title: "WHAT"}, {Title: "BY"}, {Wraps: true}})
	for _, e := range entries {
		t.Row(s.When(&e.At), e.Kind, deref(e.Actor), e.Summary)
	}
	return t.Flush()
}

// addWaiting adds what a run waits for. It omits the reason if that was printed.
func (s *session) addWaiting(t *output.Rows, w *api.WaitingFor, printed string) {
	if w == nil {
		return
	}
	if w.Reason == printed {
		t.Fact("Waiting since", s.When(&w.Since))
	} else {
		t.Fact("Waiting", w.Reason)
		t.Fact("  since", s.When(&w.Since))
	}
	t.Fact("  until", s.When(w.Until))
	t.Fact("  for", deref(w.Who))
	t.Fact("  then", deref(w.Next))
}

func (s *session) addApprovals(t *output.Rows, a *api.Approvals) {
	if a == nil {
		return
	}
	line := fmt.Sprintf("%d of %d", a.Given, a.Needed)
	if a.Group != nil {
		line += " of the group " + *a.Group
	}
	if len(a.Excluded) > 0 {
		line += ", not " + strings.Join(a.Excluded, ", ")
	}
	t.Fact("Approvals", line)
	for _, r := range a.Required {
		line := fmt.Sprintf("%d of %d", r.Given, r.Needed)
		if r.Group != nil {
			line += " of the group " + *r.Group
		}
		t.Fact("  required", line+": "+r.Reason)
	}
	for _, d := range a.Decided {
		what := d.By + " " + string(d.Verdict)
		if deref(d.Revoked) {
			what += " (revoked)"
		}
		t.Fact("  "+s.When(&d.At), strings.TrimSpace(what+" "+deref(d.Note)))
	}
}

// planOf returns what the plan of a run would change.
func planOf(run api.Run) string {
	if run.Delta == nil {
		return ""
	}
	d := run.Delta
	return strconv.Itoa(d.Added) + " to add, " + strconv.Itoa(d.Changed) + " to change, " + strconv.Itoa(d.Deleted) + " to delete"
}

// deltaOf returns what a plan changes in short, such as "+3 ~0 -9", after a text; nothing
// without a plan.
func deltaOf(d *api.Delta, after string) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("%s+%d ~%d -%d", after, d.Added, d.Changed, d.Deleted)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func newRunsExplainCommand(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "explain RUN", Short: "Explain why a run waits, and who can unblock it", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(runOrStackNames, true),
		RunE: answering(r, func(ctx context.Context, s *session, args []string) (api.Explanation, error) {
			name, err := s.named(ctx, args[0], newest)
			if err != nil {
				return api.Explanation{}, err
			}
			return gantry.Answer[api.Explanation](s.ExplainRun(ctx, name.account, name.stack, name.run))
		}, printExplanation),
	}
}

func printExplanation(s *session, e api.Explanation) error {
	if err := s.Sentence(e.Summary); err != nil {
		return err
	}
	t := s.Facts()
	s.addWaiting(t, e.WaitingFor, e.Summary)
	s.addApprovals(t, e.Approvals)
	addResources(t, e.Resources)
	addChains(t, e.Run, e.Chains)
	for _, u := range e.Unblock {
		t.Fact("Can unblock it", u.Who+": "+u.How)
	}
	for _, n := range e.Next {
		t.Fact("Happens next", strings.TrimSpace(s.When(n.At)+" "+n.What))
	}
	if t.Len() > 0 {
		fmt.Fprintln(s.Out)
	}
	if err := t.Flush(); err != nil || len(e.Rules) == 0 {
		return err
	}
	fmt.Fprintln(s.Out)
	t = s.Table([]output.Column{{Title: "RULE"}, {Title: "VALUE", Wraps: true}, {Title: "FROM", Wraps: true}, {Title: "EFFECT"}, {Wraps: true}})
	for _, rule := range e.Rules {
		t.Row(rule.Name, rule.Value, rule.Origin, rule.Effect, deref(rule.Detail))
		for _, o := range rule.Overruled {
			t.Row("", "not "+o.Value, o.Origin, "", o.Reason)
		}
	}
	return t.Flush()
}
