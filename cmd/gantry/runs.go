package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
)

func newRunsCommand() *cobra.Command {
	runs := &cobra.Command{
		Use:   "runs",
		Short: "See runs and decide about them",
		Long: `A run is named ACCOUNT/STACK/RUN, or by its address in Spacelift's own pages.

Each command asks the Gantry at --url, in the name of the token's bearer.`,
	}
	r := remoteFlags(runs)
	runs.AddCommand(newRunsListCommand(r), newRunsShowCommand(r), newRunsWatchCommand(r), newRunsExplainCommand(r))
	for _, v := range decisions {
		runs.AddCommand(newDecideCommand(r, v))
	}
	runs.AddCommand(newRetryCommand(r), newStopCommand(r))
	return runs
}

// runName is a run as commands name it.
type runName struct{ account, stack, run string }

func (n runName) String() string { return n.account + "/" + n.stack + "/" + n.run }

// runNameOf reads ACCOUNT/STACK/RUN, or the address of a run at Spacelift:
// https://ACCOUNT.app.spacelift.io/stack/STACK/run/RUN.
func runNameOf(s string) (runName, error) {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		parts := strings.Split(strings.Trim(u.Path, "/"), "/")
		account, _, _ := strings.Cut(u.Hostname(), ".")
		if len(parts) >= 4 && parts[0] == "stack" && parts[2] == "run" {
			return runName{account, parts[1], parts[3]}, nil
		}
	} else if parts := strings.Split(s, "/"); len(parts) == 3 && parts[0] != "" && parts[1] != "" && parts[2] != "" {
		return runName{parts[0], parts[1], parts[2]}, nil
	}
	return runName{}, fmt.Errorf("%q names no run: write ACCOUNT/STACK/RUN or the address of its page in Spacelift", s)
}

func newRunsListCommand(r *remote) *cobra.Command {
	var account, stack, state, phase string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List managed runs, newest first", Args: cobra.NoArgs,
		Example: "  gantry runs list --phase waiting",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			p := api.ListRunsParams{Account: given(account), Stack: given(stack), State: given(state), Phase: given(api.Phase(phase))}
			list, err := s.runs(cmd.Context(), p, limit)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(s.out, list)
			}
			t := newTable(s.out, "RUN", "TYPE", "STATE", "PHASE", "STARTED", "ENDED")
			for _, run := range list.Runs {
				t.row(runName{run.Account, run.Stack, run.Run}.String(), run.Type, run.State, string(run.Phase), when(&run.StartedAt), when(run.EndedAt))
			}
			return t.flush()
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "only runs of this account")
	cmd.Flags().StringVar(&stack, "stack", "", "only runs of this stack")
	cmd.Flags().StringVar(&state, "state", "", "only runs in this Spacelift state, such as UNCONFIRMED")
	cmd.Flags().StringVar(&phase, "phase", "", "only runs in this phase, such as waiting")
	cmd.Flags().IntVar(&limit, "limit", defaultLimit, "most runs to list")
	completePhases(cmd, "phase")
	complete(cmd, "state", "QUEUED", "PLANNING", "UNCONFIRMED", "PENDING_REVIEW", "APPLYING", "FINISHED", "FAILED", "DISCARDED", "CANCELED", "STOPPED")
	return cmd
}

// phases are the phases of a run, about in the order that a run passes them.
var phases = []string{"queued", "planning", "waiting", "holding", "confirming", "applying", "retrying", "following", "done"}

func completePhases(cmd *cobra.Command, flag string) { complete(cmd, flag, phases...) }

// defaultLimit is how much lists show, and maxPage what Gantry gives at once.
const (
	defaultLimit = 50
	maxPage      = 200
)

// pages reads pages until there are as many items as wanted. Without all of
// them it returns the token of the next page as well.
func pages[T any](limit int, page func(size *int, token *string) ([]T, *string, error)) (all []T, next *string, err error) {
	all = []T{}
	for limit > len(all) {
		var items []T
		if items, next, err = page(new(min(limit-len(all), maxPage)), next); err != nil {
			return nil, nil, err
		}
		all = append(all, items...)
		if next == nil {
			break
		}
	}
	return all, next, nil
}

func (s *session) runs(ctx context.Context, p api.ListRunsParams, limit int) (all api.RunList, err error) {
	all.Runs, all.NextPageToken, err = pages(limit, func(size *int, token *string) ([]api.RunSummary, *string, error) {
		p.PageSize, p.PageToken = size, token
		page, err := ask[api.RunList](ctx, func(ctx context.Context) (*http.Response, error) { return s.ListRuns(ctx, &p) })
		return page.Runs, page.NextPageToken, err
	})
	return all, err
}

func newRunsShowCommand(r *remote) *cobra.Command {
	var timeline bool
	cmd := &cobra.Command{
		Use: "show RUN", Short: "Show one run", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, name, err := r.about(cmd, args)
			if err != nil {
				return err
			}
			run, err := s.run(cmd.Context(), name)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(s.out, run)
			}
			return showRun(s, run, timeline)
		},
	}
	cmd.Flags().BoolVar(&timeline, "timeline", false, "show all of the timeline, not its end alone")
	return cmd
}

// about connects for a command that is about one run.
func (r *remote) about(cmd *cobra.Command, args []string) (*session, runName, error) {
	name, err := runNameOf(args[0])
	if err != nil {
		return nil, name, err
	}
	s, err := r.connect(cmd)
	return s, name, err
}

func (s *session) run(ctx context.Context, n runName) (api.Run, error) {
	return ask[api.Run](ctx, func(ctx context.Context) (*http.Response, error) { return s.GetRun(ctx, n.account, n.stack, n.run) })
}

// lastEntries is how much of a timeline is shown without --timeline.
const lastEntries = 10

func showRun(s *session, run api.Run, timeline bool) error {
	t := newTable(s.out)
	t.fact("Run", runName{run.Account, run.Stack, run.Run}.String())
	t.fact("Page", deref(run.URL))
	t.fact("Stack", deref(run.StackName))
	t.fact("Type", run.Type)
	t.fact("State", fmt.Sprintf("%s (state version %d)", run.State, run.StateVersion))
	t.fact("Phase", string(run.Phase))
	showWaiting(t, run.WaitingFor, "")
	t.fact("Outcome", deref(run.Outcome))
	t.fact("Plan", planOf(run))
	if c := run.Commit; c != nil {
		hash := deref(c.Hash)
		t.fact("Commit", strings.TrimSpace(hash[:min(len(hash), 9)]+" "+firstLine(deref(c.Message))+inBrackets(deref(c.AuthorName))))
	}
	t.fact("Triggered by", deref(run.TriggeredBy))
	showApprovals(t, run.Approvals)
	if g := run.Gate; g != nil && !g.Open {
		t.fact("Gate", "closed: "+deref(g.Reason))
	}
	if f := run.Failure; f != nil {
		t.fact("Failure", f.Cause+inBrackets(deref(f.Evidence)))
	}
	if retry := run.Retry; retry != nil {
		t.fact("Retry", fmt.Sprintf("attempt %d of %d, %s: %s", retry.Attempt, retry.Of, when(&retry.At), retry.Reason))
	}
	if of := run.RetryOf; of != nil {
		t.fact("Retry of", fmt.Sprintf("%s, by %s", of.Run, of.By))
	}
	showChains(t, run.Run, run.Chains)
	t.fact("Followed by", strings.Join(run.Followers, ", "))
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.out)
	if err := showPolicy(s, run.Policy); err != nil {
		return err
	}
	entries := run.Timeline
	if skipped := len(entries) - lastEntries; skipped > 0 && !timeline {
		entries = entries[skipped:]
	}
	fmt.Fprintln(s.out)
	t = newTable(s.out, "TIME", "WHAT", "BY", "")
	for _, e := range entries {
		t.row(when(&e.At), e.Kind, deref(e.Actor), e.Summary)
	}
	return t.flush()
}

// showWaiting shows what a run waits for, and not again why, if that is said.
func showWaiting(t *table, w *api.WaitingFor, said string) {
	if w == nil {
		return
	}
	if w.Reason == said {
		t.fact("Waiting since", when(&w.Since))
	} else {
		t.fact("Waiting", w.Reason)
		t.fact("  since", when(&w.Since))
	}
	t.fact("  until", when(w.Until))
	t.fact("  for", deref(w.Who))
	t.fact("  then", deref(w.Next))
}

func showApprovals(t *table, a *api.Approvals) {
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
	t.fact("Approvals", line)
	for _, d := range a.Decided {
		what := d.By + " " + string(d.Verdict)
		if deref(d.Revoked) {
			what += " (taken back)"
		}
		t.fact("  "+when(&d.At), strings.TrimSpace(what+" "+deref(d.Note)))
	}
}

// planOf says what the plan of a run would change.
func planOf(run api.Run) string {
	if run.Delta == nil {
		return ""
	}
	d := run.Delta
	return strconv.Itoa(d.Added) + " to add, " + strconv.Itoa(d.Changed) + " to change, " + strconv.Itoa(d.Deleted) + " to delete"
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
		Use: "explain RUN", Short: "Say why a run is where it is, and what moves it on", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeRuns,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, name, err := r.about(cmd, args)
			if err != nil {
				return err
			}
			e, err := ask[api.Explanation](cmd.Context(), func(ctx context.Context) (*http.Response, error) {
				return s.ExplainRun(ctx, name.account, name.stack, name.run)
			})
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(s.out, e)
			}
			return showExplanation(s, e)
		},
	}
}

func showExplanation(s *session, e api.Explanation) error {
	fmt.Fprintln(s.out, clean(e.Summary))
	t := newTable(s.out)
	showWaiting(t, e.WaitingFor, e.Summary)
	showApprovals(t, e.Approvals)
	showChains(t, e.Run, e.Chains)
	for _, u := range e.Unblock {
		t.fact("Can move it on", u.Who+": "+u.How)
	}
	for _, n := range e.Next {
		t.fact("Happens by itself", strings.TrimSpace(when(n.At)+" "+n.What))
	}
	if t.rows > 0 {
		fmt.Fprintln(s.out)
	}
	if err := t.flush(); err != nil || len(e.Rules) == 0 {
		return err
	}
	fmt.Fprintln(s.out)
	t = newTable(s.out, "RULE", "VALUE", "FROM", "SAYS", "")
	for _, rule := range e.Rules {
		t.row(rule.Name, rule.Value, rule.Origin, rule.Effect, deref(rule.Detail))
	}
	return t.flush()
}
