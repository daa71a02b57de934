package web

import (
	"slices"

	"github.com/a-h/templ"

	"github.com/gantryhq/gantry/gen/api"
)

// chainsView is a list of chains.
type chainsView struct {
	Account  string // that the list is of; empty for all
	Phase    api.ChainPhase
	Accounts []string
	Chains   []api.ChainSummary
	Next     *string // the token of the next page, for one account
	query    func(name, value string) templ.SafeURL
}

// chains lists the chains of the accounts that the caller may see, those that are held
// first.
func (p *Pages) chains(c *call) (answer, error) {
	query := c.URL.Query()
	v := &chainsView{Account: query.Get("account"), Phase: api.ChainPhase(query.Get("phase"))}
	v.query = func(name, value string) templ.SafeURL { return with(query, name, value) }
	accounts, err := c.accounts()
	if err != nil {
		return answer{}, err
	}
	v.Accounts = accounts
	if v.Account != "" {
		accounts = []string{v.Account}
	}
	params := api.ListChainsParams{}
	if v.Phase != "" {
		params.Phase = &v.Phase
	}
	if token := query.Get("pageToken"); token != "" {
		params.PageToken = &token
	}
	for _, account := range accounts {
		found, err := c.API.ListChainsWithResponse(c.Context(), account, &params)
		if err != nil {
			return answer{}, err
		}
		v.Chains = append(v.Chains, found.JSON200.Chains...)
		if len(accounts) == 1 {
			v.Next = found.JSON200.NextPageToken
		}
	}
	slices.SortStableFunc(v.Chains, func(a, b api.ChainSummary) int {
		if held := rank(a) - rank(b); held != 0 {
			return held
		}
		return b.StartedAt.Compare(a.StartedAt)
	})
	return show(chainsPage(v))
}

// rank puts chains that somebody must act on first, and those that have ended last.
func rank(c api.ChainSummary) int {
	switch {
	case c.Phase == "held":
		return 0
	case c.EndedAt == nil:
		return 1
	}
	return 2
}

// accounts returns the names of the accounts that the caller may see.
func (c *call) accounts() ([]string, error) {
	found, err := c.API.ListAccountsWithResponse(c.Context())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, a := range found.JSON200.Accounts {
		names = append(names, a.Name)
	}
	return names, nil
}

// held counts the chains that somebody must act on.
func (v *chainsView) held() (n int) {
	for _, c := range v.Chains {
		if c.Phase == "held" {
			n++
		}
	}
	return n
}

// title says how many are held.
func (v *chainsView) title() string {
	moving := 0
	for _, c := range v.Chains {
		if rank(c) == 1 {
			moving++
		}
	}
	switch n := v.held(); {
	case n == 1:
		return "1 chain is held"
	case n > 1:
		return plural(n, "chain") + " are held"
	case moving == 1:
		return "1 chain moves"
	case moving > 1:
		return plural(moving, "chain") + " move"
	}
	return "No chain is held"
}

func (v *chainsView) chips() []Chip {
	all := []Chip{{Name: "All", To: v.query("phase", ""), Current: v.Phase == ""}}
	for _, phase := range []api.ChainPhase{"held", "moving", "done"} {
		all = append(all, Chip{Name: initial(string(phase)), To: v.query("phase", string(phase)), Current: v.Phase == phase})
	}
	return all
}

// accountChips are the accounts of a list; none if there is only one.
func accountChips(accounts []string, current string, query func(name, value string) templ.SafeURL) []Chip {
	if len(accounts) < 2 {
		return nil
	}
	var all []Chip
	for _, a := range accounts {
		all = append(all, Chip{Name: a, To: query("account", a), Current: current == a})
	}
	return all
}
