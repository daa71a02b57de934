package web

import (
	"fmt"
	"strings"

	"github.com/a-h/templ"

	"github.com/gantryhq/gantry/gen/api"
)

// stacksView is a list of stacks.
type stacksView struct {
	Account, Search, Show string
	Accounts              []string
	List                  api.StackList
	query                 func(name, value string) templ.SafeURL
}

// stacks lists the managed stacks of an account, those with problems first.
func (p *Pages) stacks(c *call) (answer, error) {
	query := c.URL.Query()
	v := &stacksView{Search: strings.TrimSpace(query.Get("search")), Show: query.Get("show")}
	v.query = func(name, value string) templ.SafeURL { return with(query, name, value) }
	var err error
	if v.Accounts, v.Account, err = c.account(); err != nil || v.Account == "" {
		return answer{page: stacksPage(v)}, err
	}
	params := api.ListStacksParams{Order: new(api.ListStacksParamsOrderProblems), PageSize: new(100), Search: given(v.Search), PageToken: given(query.Get("pageToken"))}
	switch v.Show {
	case "problems":
		params.Problems = new(true)
	case "enforced", "advisory", "void":
		params.Enforcement = new(api.ListStacksParamsEnforcement(v.Show))
	}
	found, err := c.API.ListStacksWithResponse(c.Context(), v.Account, &params)
	if err != nil {
		return answer{}, err
	}
	v.List = *found.JSON200
	return show(stacksPage(v))
}

// account returns the accounts that the caller may see, and the one that the page is
// about: that of the query, or else the first.
func (c *call) account() (all []string, account string, err error) {
	all, err = c.accounts()
	if account = c.URL.Query().Get("account"); account == "" && len(all) > 0 {
		account = all[0]
	}
	return all, account, err
}

// given returns a parameter of the API; nil for an empty one.
func given(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}

// level returns the worth of a stack's policy; empty if it isn't known.
func level(s api.Stack) string {
	if s.Enforcement == nil {
		return ""
	}
	return s.Enforcement.Level
}

// chips are the views of the list.
func (v *stacksView) chips() []Chip {
	n := v.List.Counts
	all := []Chip{{Name: "All", Count: n.Total, To: v.query("show", ""), Current: v.Show == ""}}
	for _, view := range []struct {
		name  string
		count int
	}{{"problems", n.Problems}, {"void", n.Void}, {"advisory", n.Advisory}, {"enforced", n.Enforced}} {
		if view.count > 0 || v.Show == view.name {
			all = append(all, Chip{Name: initial(view.name), Count: view.count, To: v.query("show", view.name), Current: v.Show == view.name})
		}
	}
	return all
}

// headline says how many have problems, or what a search found.
func (v *stacksView) headline() string {
	n := v.List.Counts
	switch {
	case v.Search != "" && v.List.Total == 1:
		return "1 stack matches"
	case v.Search != "":
		return plural(v.List.Total, "stack") + " match"
	case n.Total == 0:
		return "No managed stacks"
	}
	var parts []string
	switch n.Problems {
	case 0:
	case 1:
		parts = append(parts, "1 stack has a problem")
	default:
		parts = append(parts, fmt.Sprintf("%d stacks have problems", n.Problems))
	}
	if n.Void > 0 {
		parts = append(parts, fmt.Sprintf("%d without effect in Spacelift", n.Void))
	}
	if len(parts) == 0 {
		return "All stacks are in order"
	}
	return strings.Join(parts, ", ")
}

// settings holds the values of a policy that aren't the default.
type settings map[string]string

func settingsOf(policy []api.PolicyValue) settings {
	s := settings{}
	for _, v := range policy {
		if v.Origin != "default" && v.Value != "" && v.Value != "none" {
			s[v.Name] = v.Value
		}
	}
	return s
}

// inShort returns a policy in a few words.
func inShort(policy []api.PolicyValue) []string {
	s := settingsOf(policy)
	words := append([]string{s.confirmWords()}, s.approvalWords()...)
	for _, limit := range []struct{ name, what string }{{"limits.maxAdded", "added"}, {"limits.maxChanged", "changed"}, {"limits.maxDeleted", "deleted"}} {
		if n := s[limit.name]; n != "" {
			words = append(words, "at most "+n+" "+limit.what)
		}
	}
	if s["confirmWhen"]+s["approvalsWhen"]+s["holdWhen"] != "" {
		words = append(words, "decides by resources")
	}
	for _, part := range []struct{ name, before string }{{"windows", "in window "}, {"after", "after "}} {
		if value := s[part.name]; value != "" {
			words = append(words, part.before+value)
		}
	}
	if n := s["retries"]; n != "" && n != "0" {
		words = append(words, "retries up to "+n)
	}
	return words
}

// confirmWords says who confirms a plan.
func (s settings) confirmWords() string {
	switch s["confirm"] {
	case "auto":
		return "Gantry confirms"
	case "no-deletes":
		return "Gantry confirms, unless something is deleted"
	case "manual":
		return "people decide"
	}
	if s["approvals"]+s["approvers"]+s["approvalTimeout"] != "" {
		return "people decide"
	}
	return "people decide in Spacelift"
}

// approvalWords says how many people must approve where people are asked.
func (s settings) approvalWords() []string {
	n, from := s["approvals"], s["approvers"]
	if from == "anyone" {
		from = ""
	}
	if n+from == "" {
		return nil
	}
	text := n + " approvals"
	switch n {
	case "":
		text = "approval"
	case "1":
		text = "1 approval"
	}
	if from != "" {
		text += " from " + from
	}
	return []string{text}
}
