package freeze

import (
	"fmt"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Opening returns what Freezes is for.
func Opening(account spacelift.Account, pages decide.Pages) decide.Opening {
	return decide.Open("Freezes of the account "+string(account), "This execution keeps the freezes that people declare.", pages.Calendar())
}

// Details returns the freezes of an account in Markdown.
func (b *Book) Details(account spacelift.Account, at time.Time, pages decide.Pages) string {
	var d decide.Markdown
	freezes := b.Freezes()
	effective := 0
	for _, f := range freezes {
		if !f.From.After(at) {
			effective++
		}
	}
	d.Heading(fmt.Sprintf("%s: %d freezes in effect, %d to come", account, effective, len(freezes)-effective))
	for _, f := range freezes {
		d.Item(f.ID, describe(f))
	}
	d.Link("Open in Gantry", pages.Calendar())
	return d.String()
}

// describe says what a freeze covers, when, who declared it and why.
func describe(f policy.Freeze) string {
	what := "all stacks"
	if len(f.Stacks) > 0 {
		what = strings.Join(f.Stacks, ", ")
	}
	what += " from " + decide.Moment(f.From)
	if !f.Until.IsZero() {
		what += " until " + decide.Moment(f.Until)
	}
	if f.DeclaredBy != "" {
		what += ", declared by " + f.DeclaredBy
	}
	return what + decide.AfterColon(f.Reason)
}
