package managed

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// Headline returns where a run is in one line, such as "network / prod: waits for 2
// approvals since 28 Nov 23:32 UTC, +0 ~0 -9, alice".
func Headline(s *RunStatus, e Explanation) string {
	what := e.Summary
	switch a := e.Approvals; {
	case e.WaitingFor == nil:
	case e.Phase == PhaseWaiting && a != nil && a.Given < a.Needed:
		what = "waits for " + approvalsOf(a.Needed-a.Given)
	case e.Phase == PhaseHolding:
		what = "held: " + what
	}
	parts := []string{decide.Fit(what, maxHeadline)}
	if w := e.WaitingFor; w != nil && !w.Since.IsZero() {
		parts[0] += " since " + decide.Moment(w.Since)
	}
	if s.Delta != nil {
		parts = append(parts, fmt.Sprintf("+%d ~%d -%d", s.Delta.Added, s.Delta.Changed, s.Delta.Deleted))
	}
	if who := cmp.Or(s.Commit.AuthorLogin, s.Commit.AuthorName, s.TriggeredBy); who != "" {
		parts = append(parts, who)
	}
	return cmp.Or(s.StackName, string(s.Run.Stack)) + ": " + strings.Join(parts, ", ")
}

// maxHeadline bounds what a headline says of a run, in bytes.
const maxHeadline = 160

// Opening returns what is known of a run when its execution starts.
func Opening(run spacelift.RunRef, events []RunEvent, pages decide.Pages) decide.Opening {
	s := startStatus(run, events)
	parts := []string{"run " + string(run.Run)}
	if s.Commit.Hash != "" {
		parts = append(parts, strings.TrimSpace("commit "+ShortHash(s.Commit.Hash)+" "+firstLine(s.Commit.Message)))
	}
	if who := cmp.Or(s.Commit.AuthorLogin, s.Commit.AuthorName, s.TriggeredBy); who != "" {
		parts = append(parts, who)
	}
	return decide.Open(cmp.Or(s.StackName, string(run.Stack))+": "+strings.Join(parts, ", "),
		"This execution follows one Spacelift run to its end. The current details say why the run is where it is, as far as a worker answers.", pages.Run(run))
}

// Details returns why a run is where it is, in Markdown: the headline, who can move the
// run on, what happens next, and links.
func Details(s *RunStatus, e Explanation, pages decide.Pages) string {
	var d decide.Markdown
	d.Heading(Headline(s, e))
	if w := e.WaitingFor; w == nil || w.Reason != "" {
		d.Paragraph(decide.Sentence(e.Summary))
	}
	for _, u := range e.Unblock {
		d.Item(u.Who, u.How)
	}
	for _, n := range e.Next {
		when := "Then"
		if !n.At.IsZero() {
			when = decide.Moment(n.At)
		}
		d.Item(when, n.What)
	}
	d.Item("Deletes", s.Resources.deleted())
	d.Item("Replaces", s.Resources.replaced())
	if s.Commit.Hash != "" {
		d.Item("Commit", strings.TrimSpace(ShortHash(s.Commit.Hash)+" "+firstLine(s.Commit.Message)))
	}
	d.Link("Open in Gantry", pages.Run(s.Run))
	d.Link("Open in Spacelift", s.URL)
	for _, c := range e.Chains {
		d.Link("Chain of "+string(c.Root.Stack), pages.Chain(c.Root))
	}
	return d.String()
}

// Headline returns what a retry is for, in one line.
func (in RetryRunInput) Headline() string {
	return fmt.Sprintf("%s: retry run %s, attempt %d: %s", in.Run.Stack, in.Run.Run, in.Attempt, in.Reason)
}

// Opening returns what a retry is for.
func (in RetryRunInput) Opening(pages decide.Pages) decide.Opening {
	return decide.Open(in.Headline(), "This execution has Spacelift try a failed run again, once.", pages.Run(in.Run))
}

// Details returns how far a retry is, in Markdown.
func (in RetryRunInput) Details(what string, pages decide.Pages) string {
	var d decide.Markdown
	d.Heading(in.Headline())
	d.Paragraph(decide.Sentence(what))
	d.Link("Open in Gantry", pages.Run(in.Run))
	return d.String()
}

// Opening returns what a request to trigger a run is for.
func (in TriggerRunInput) Opening() decide.Opening {
	return decide.Open(fmt.Sprintf("%s: trigger a run (%s) for %s", in.Stack, in.Type, in.By), "This execution triggers the run, once, and has it managed.", "")
}
