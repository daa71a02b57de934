package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/cmd/gantry/internal/waiting"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newWaitingCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "waiting", Short: "Show the runs that wait for you, and decide about them", Args: cobra.NoArgs,
		Long: `Lists the runs whose plan you may approve now, the longest wait first. On a terminal you choose one with the arrow keys,
approve it, reject it with a note, read why it waits, or open it in the browser; --no-input prints the list alone.`,
		Example: "  gantry waiting\n  gantry waiting --asked -o wide",
	}
	r := remoteFlags(cmd)
	f := cmd.Flags()
	account := accountFilter(r, cmd)
	asked := f.Bool("asked", false, "the runs that you triggered or wrote, even if others approve them")
	everyone := f.Bool("everyone", false, "the runs that wait for anyone or anything")
	noInput := f.Bool("no-input", false, "print the list, and ask nothing")
	limit := pagingFlags(cmd)
	cmd.MarkFlagsMutuallyExclusive("asked", "everyone")
	params := func(s *session) api.ListRunsParams {
		p := api.ListRunsParams{Account: given(cmp.Or(*account, s.account)), Order: new(api.ListRunsParamsOrderOldest)}
		switch {
		case *asked:
			p.Author, p.Waiting = new("me"), new("any")
		case *everyone:
			p.Waiting = new("any")
		default:
			p.CanDecide = new(api.ListRunsParamsCanDecideMe)
		}
		return p
	}
	listing(r, cmd, runEvents, func(ctx context.Context, s *session, _ []string) (api.RunList, error) {
		return s.runs(ctx, params(s), limit.most())
	}, printWaiting)
	list := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		watch, _ := cmd.Flags().GetBool("watch")
		s, err := r.connect(cmd)
		if err != nil {
			return err
		}
		if *noInput || watch || s.Format != output.Table || !interactive(cmd) {
			return list(cmd, args)
		}
		who := "you"
		if *asked || *everyone {
			who = "anyone"
		}
		return s.showWaiting(cmd, params(s), limit.most(), who)
	}
	return cmd
}

// interactive reports whether a person sits before the program.
func interactive(cmd *cobra.Command) bool {
	return output.OnTerminal(cmd.InOrStdin()) && output.OnTerminal(cmd.OutOrStdout()) && os.Getenv("TERM") != "dumb"
}

// showWaiting shows the screen, and prints what the person did on it.
func (s *session) showWaiting(cmd *cobra.Command, p api.ListRunsParams, limit int, who string) error {
	done, err := waiting.Show(cmd.Context(), newDesk(s, p, limit), who, cmd.InOrStdin(), output.Terminal(s.Out))
	for _, what := range done {
		fmt.Fprintln(s.Out, what)
	}
	return err
}

// desk is the Gantry of the screen. Nothing is printed beside the screen.
type desk struct {
	*session
	reads  *session // doesn't wait for answers: the screen reads again
	params api.ListRunsParams
	limit  int
}

func newDesk(s *session, p api.ListRunsParams, limit int) *desk {
	quiet, hasty := *s, *s
	quiet.Client = s.With(gantry.WithRetryNotice(nil))
	hasty.Client = quiet.With(gantry.WithPatience(0))
	return &desk{&quiet, &hasty, p, limit}
}

func (d *desk) Waiting(ctx context.Context) ([]api.RunSummary, bool, error) {
	list, err := d.reads.runs(ctx, d.params, d.limit)
	return list.Runs, list.NextPageToken != nil, err
}

func (d *desk) Changes(ctx context.Context) <-chan struct{} {
	return d.changes(ctx, runEvents, api.StreamEventsParams{Account: d.params.Account})
}

func (d *desk) Decide(ctx context.Context, run api.RunSummary, verdict api.Verdict, note string) (string, error) {
	decided, err := d.decide(ctx, nameOf(run), api.DecisionRequest{Verdict: verdict, Note: given(strings.TrimSpace(note)), StateVersion: run.StateVersion})
	if err != nil {
		return "", err
	}
	return nameOf(run).String() + ": " + doneBy(verdict) + inBrackets(planOf(decided)), nil
}

func (d *desk) Explain(ctx context.Context, run api.RunSummary, width int) (string, error) {
	var text bytes.Buffer
	s := d.onto(&text, width)
	n := nameOf(run)
	e, err := gantry.Answer[api.Explanation](d.reads.ExplainRun(ctx, n.account, n.stack, n.run))
	if err == nil {
		err = printExplanation(s, e)
	}
	return text.String(), err
}

func (d *desk) Open(ctx context.Context, run api.RunSummary) (string, error) {
	return openPage(ctx, run.URL)
}

func (d *desk) Subject(run api.RunSummary) string {
	return output.Clean(nameOf(run).String() + deltaOf(run.Delta, " with "))
}

func (d *desk) Table(runs []api.RunSummary, marked, width int) (string, error) {
	var text bytes.Buffer
	s := d.onto(&text, width)
	err := printWaitingRuns(s, runs, marked)
	return text.String(), err
}

// onto returns the session with another output of a width.
func (s *session) onto(text *bytes.Buffer, width int) *session {
	other := *s
	other.Printer = s.Onto(text, now())
	other.Width = width
	return &other
}

func printWaiting(s *session, list api.RunList) error { return printWaitingRuns(s, list.Runs, -1) }

// printWaitingRuns prints runs that wait, and marks one of them; -1 for none.
func printWaitingRuns(s *session, runs []api.RunSummary, marked int) error {
	t := s.List("runs that wait", []output.Column{
		{Tone: always(output.Bold)}, {Title: "STACK"}, {Title: "SINCE"}, {Title: "PLAN", Tone: toneOfPlan}, {Title: "AUTHOR", Drop: 1}, {Title: "WHY", Wraps: true},
		{Title: "WHO", Wraps: true, Drop: 3}, {Title: "UNTIL", Drop: 2}, {Title: "RUN", Drop: 4},
	})
	for i, run := range runs {
		mark := ""
		if i == marked {
			mark = "▶"
		} else if marked >= 0 {
			mark = " "
		}
		w := deref(run.WaitingFor)
		t.Row(mark, run.Account+"/"+run.Stack, s.When(&w.Since), deltaOf(run.Delta, ""), authorOf(run), w.Reason, deref(w.Who), s.When(w.Until), run.Run)
	}
	return t.Flush()
}

// toneOfPlan warns of a plan that deletes something.
func toneOfPlan(plan string) output.Tone {
	if _, deleted, ok := strings.Cut(plan, " -"); ok && deleted != "0" {
		return output.Bad
	}
	return output.NoTone
}

// authorOf returns who wrote the commit of a run, or triggered it.
func authorOf(run api.RunSummary) string {
	c := deref(run.Commit)
	return cmp.Or(deref(c.AuthorLogin), deref(c.AuthorName), deref(run.TriggeredBy))
}

// selection holds the flags that select runs that wait.
type selection struct {
	account, stack, label, space, author, commit *string
	yes, noInput                                 *bool
}

func selectionFlags(r *remote, cmd *cobra.Command) selection {
	f := cmd.Flags()
	x := selection{
		account: accountFilter(r, cmd),
		stack:   f.String("stack", "", "all that wait on stacks with such an id; * stands for any text"),
		label:   f.String("label", "", "all that wait on stacks with this label"),
		space:   f.String("space", "", "all that wait on stacks in this space or below it"),
		author:  f.String("author", "", "all that wait and that this person triggered or wrote"),
		commit:  f.String("commit", "", "all that wait with a commit that begins so"),
		yes:     f.Bool("yes", false, "ask no question before deciding about several runs"),
		noInput: f.Bool("no-input", false, "never ask; without --yes, decide about nothing"),
	}
	completeStacks(r, cmd)
	return x
}

// given reports whether runs are selected.
func (x selection) given() bool {
	return *x.stack+*x.label+*x.space+*x.author+*x.commit != ""
}

// errNothingNamed reports that a decision is about no run.
var errNothingNamed = errors.New("name a run, or a stack of which one run waits; or select several with --stack, --label, --space, --author or --commit")

// find returns the runs that are selected and that the caller may decide about.
func (x selection) find(ctx context.Context, s *session, verdict api.Verdict) ([]api.RunSummary, error) {
	list, err := s.runs(ctx, api.ListRunsParams{
		Account: given(cmp.Or(*x.account, s.account)), Stack: given(*x.stack), Label: given(*x.label), Space: given(*x.space), Author: given(*x.author), Commit: given(*x.commit),
		CanDecide: new(api.ListRunsParamsCanDecideMe), Order: new(api.ListRunsParamsOrderOldest),
	}, paging{all: new(true)}.most())
	return slices.DeleteFunc(list.Runs, func(run api.RunSummary) bool {
		return !slices.Contains(run.CanDecide, verdict)
	}), err
}

// decideAll decides about all selected runs, after a question.
func (x selection) decideAll(cmd *cobra.Command, s *session, d decision, note *string) error {
	runs, err := x.find(cmd.Context(), s, d.verdict)
	switch {
	case err != nil:
		return err
	case len(runs) == 0:
		return errors.New("no selected run waits for you; gantry waiting lists those that do")
	}
	if !*x.yes {
		if *x.noInput || !interactive(cmd) {
			if len(runs) == 1 {
				return fmt.Errorf("1 run is selected: add --yes to %s it", d.verdict)
			}
			return fmt.Errorf("%d runs are selected: add --yes to %s all of them", len(runs), d.verdict)
		}
		if err := printWaitingRuns(s, runs, -1); err != nil {
			return err
		}
		if !s.confirmed(cmd, fmt.Sprintf("\n%s %s? [y/N] ", strings.ToUpper(string(d.verdict[:1]))+string(d.verdict[1:]), these(len(runs)))) {
			return errors.New("nothing was decided")
		}
	}
	var failed []error
	for _, run := range runs {
		// About the plan that was listed: if it has changed, Gantry refuses.
		decided, err := s.decide(cmd.Context(), nameOf(run), api.DecisionRequest{Verdict: d.verdict, Note: note, StateVersion: run.StateVersion})
		switch {
		case err != nil:
			failed = append(failed, fmt.Errorf("%s: %w", nameOf(run), err))
			continue
		case s.Structured():
			err = s.EncodeLine(decided)
		case s.Format == output.Name:
			_, err = fmt.Fprintln(s.Out, nameOf(run))
		default:
			_, err = fmt.Fprintf(s.Out, "%s: %s%s\n", nameOf(run), d.done, inBrackets(planOf(decided)))
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func these(runs int) string {
	if runs == 1 {
		return "this run"
	}
	return fmt.Sprintf("these %d runs", runs)
}

// confirmed asks a question; anything but a yes is a no.
func (s *session) confirmed(cmd *cobra.Command, question string) bool {
	fmt.Fprint(s.Err, question)
	var answer string
	_, _ = fmt.Fscanln(cmd.InOrStdin(), &answer) // no answer is a no
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")
}

// decide sends a decision.
func (s *session) decide(ctx context.Context, n runName, body api.DecisionRequest) (api.Run, error) {
	return gantry.Answer[api.Run](s.DecideRun(ctx, n.account, n.stack, n.run, nil, body))
}
