package decide

import (
	"net/url"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// Pages is the address of Gantry in browsers, from which those of its pages follow; empty
// for one that isn't known. Then its methods return "".
type Pages string

// Run returns the address of a run's page.
func (p Pages) Run(run spacelift.RunRef) string {
	return p.page("accounts", string(run.Account), "stacks", string(run.Stack), "runs", string(run.Run))
}

// Chain returns the address of a chain's page, given the run that began it.
func (p Pages) Chain(root spacelift.RunRef) string {
	return p.page("accounts", string(root.Account), "stacks", string(root.Stack), "runs", string(root.Run), "chain")
}

// Health returns the address of the page about accounts.
func (p Pages) Health() string { return p.page("health") }

// Calendar returns the address of the page about windows and freezes.
func (p Pages) Calendar() string { return p.page("calendar") }

func (p Pages) page(segments ...string) string {
	if p == "" {
		return ""
	}
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.TrimSuffix(string(p), "/") + "/" + strings.Join(segments, "/")
}
