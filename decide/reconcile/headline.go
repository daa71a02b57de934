package reconcile

import (
	"fmt"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// Opening returns what Reconcile is for.
func Opening(account spacelift.Account, pages decide.Pages) decide.Opening {
	return decide.Open("Compare the managed runs of the account "+string(account)+" with Spacelift", "This execution is one tick. The next one begins with its result.", pages.Health())
}

// Details returns the result of a tick, in Markdown: what it did and what it found.
func (r Report) Details(pages decide.Pages) string {
	var d decide.Markdown
	d.Heading(fmt.Sprintf("%s: %s, %d findings; %d runs in progress, %d adopted, %d repaired, %d finished", r.Account, r.Outcome, len(r.Findings), r.InProgress, r.Adopted, r.Repaired, r.Finished))
	d.Paragraph(decide.Sentence(r.Reason))
	for _, f := range r.Findings {
		d.Item(headlines[f.Kind], decide.Sentence(f.Summary)+" What to do: "+decide.Sentence(f.Fix))
	}
	d.Link("Open in Gantry", pages.Health())
	return d.String()
}
