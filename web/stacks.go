package web

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/gantryhq/gantry/gen/api"
)

// stacksView is a list of stacks.
type stacksView struct {
	Account, Search, Show string
	Accounts              []string
	Stacks                []api.Stack
	Total                 int            // that the filters select
	Counts                map[string]int // by filter, of what the search finds
	Complete              bool
	query                 func(name, value string) templ.SafeURL
	page                  int
}

// mostStacks is the number of stacks on one page.
const mostStacks = 100

// stacks lists the managed stacks of an account, those with problems first.
func (p *Pages) stacks(c *call) (answer, error) {
	query := c.URL.Query()
	v := &stacksView{Account: query.Get("account"), Search: strings.TrimSpace(query.Get("search")), Show: query.Get("show"), Counts: map[string]int{}}
	v.query = func(name, value string) templ.SafeURL { return with(query, name, value) }
	accounts, err := c.accounts()
	if err != nil {
		return answer{}, err
	}
	v.Accounts = accounts
	if v.Account == "" && len(accounts) > 0 {
		v.Account = accounts[0]
	}
	if v.Account == "" {
		return show(stacksPage(v))
	}
	found, err := c.API.ListStacksWithResponse(c.Context(), v.Account)
	if err != nil {
		return answer{}, err
	}
	v.Complete = found.JSON200.Complete
	page, _ := strconv.Atoi(query.Get("pageToken")) // anything else is the first page
	v.take(found.JSON200.Stacks, max(page, 0))
	return show(stacksPage(v))
}

// take keeps those stacks of an account that the filters select.
func (v *stacksView) take(all []api.Stack, page int) {
	search := strings.ToLower(v.Search)
	for _, s := range all {
		if !found(s, search) {
			continue
		}
		v.Counts[""]++
		for _, filter := range stackFilters {
			if filter.selects(s) {
				v.Counts[filter.name]++
			}
		}
		if selects(v.Show, s) {
			v.Stacks = append(v.Stacks, s)
		}
	}
	slices.SortStableFunc(v.Stacks, func(a, b api.Stack) int {
		return cmp.Or(cmp.Compare(urgency(a), urgency(b)), cmp.Compare(a.Stack, b.Stack))
	})
	v.Total, v.page = len(v.Stacks), min(page, len(v.Stacks)/mostStacks)
	from := v.page * mostStacks
	v.Stacks = v.Stacks[from:min(from+mostStacks, v.Total)]
}

// found reports whether a stack has a text in its id, name or labels.
func found(s api.Stack, text string) bool {
	has := func(in string) bool { return strings.Contains(strings.ToLower(in), text) }
	return text == "" || has(s.Stack) || has(s.Name) || slices.ContainsFunc(s.Labels, has)
}

// stackFilters are the views of the list.
var stackFilters = []struct {
	name, title string
	selects     func(api.Stack) bool
}{
	{"problems", "Problems", func(s api.Stack) bool { return len(s.Problems)+len(s.Warnings) > 0 }},
	{"void", "Void", func(s api.Stack) bool { return level(s) == "void" }},
	{"advisory", "Advisory", func(s api.Stack) bool { return level(s) == "advisory" }},
	{"enforced", "Enforced", func(s api.Stack) bool { return level(s) == "enforced" }},
	{"closed", "Closed now", func(s api.Stack) bool { return !s.Gate.Open }},
}

func selects(name string, s api.Stack) bool {
	for _, filter := range stackFilters {
		if filter.name == name {
			return filter.selects(s)
		}
	}
	return true
}

// level returns the worth of a stack's policy; empty if it isn't known.
func level(s api.Stack) string {
	if s.Enforcement == nil {
		return ""
	}
	return s.Enforcement.Level
}

// urgency puts stacks with problems first.
func urgency(s api.Stack) int {
	switch {
	case len(s.Problems) > 0:
		return 0
	case level(s) == "void":
		return 1
	case level(s) == "advisory":
		return 2
	case len(s.Warnings) > 0:
		return 3
	}
	return 4
}

func (v *stacksView) chips() []Chip {
	all := []Chip{{Name: "All", Count: v.Counts[""], To: v.query("show", ""), Current: v.Show == ""}}
	for _, filter := range stackFilters {
		if n := v.Counts[filter.name]; n > 0 || v.Show == filter.name {
			all = append(all, Chip{Name: filter.title, Count: n, To: v.query("show", filter.name), Current: v.Show == filter.name})
		}
	}
	return all
}

// headline says how many have problems.
func (v *stacksView) headline() string {
	switch {
	case v.Counts[""] == 0 && v.Search != "":
		return "No stack matches"
	case v.Counts[""] == 0:
		return "No managed stacks"
	}
	var parts []string
	switch n := v.Counts["problems"]; n {
	case 0:
	case 1:
		parts = append(parts, "1 stack has a problem")
	default:
		parts = append(parts, fmt.Sprintf("%d stacks have problems", n))
	}
	if n := v.Counts["void"]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d without effect in Spacelift", n))
	}
	if len(parts) == 0 {
		return "All stacks are in order"
	}
	return strings.Join(parts, ", ")
}

// next returns the token of the next page; nil on the last one.
func (v *stacksView) next() *string {
	if (v.page+1)*mostStacks >= v.Total {
		return nil
	}
	return new(strconv.Itoa(v.page + 1))
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
