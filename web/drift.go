package web

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/gen/api"
)

// environments are the words by which the environments of a service differ, unless
// somebody names others.
const environments = "dev test qa uat stage staging preprod prod production eu us ap"

// mostEnvironments bounds those that somebody may name.
const mostEnvironments = 40

// service is one service in several environments: stacks whose ids differ by nothing but
// words for environments.
type service struct {
	Name   string // the id with * for the environment
	Stacks []sibling
	Rows   []driftRow
	Odd    int // values that are unusual in their environment
}

// sibling is the stack of a service in an environment.
type sibling struct {
	api.Stack
	Environment string
	values      map[string]driftValue // by setting
}

// name returns what the column of a stack is called.
func (s sibling) name() string { return cmp.Or(s.Environment, s.Stack.Stack) }

// driftRow is a setting in several environments.
type driftRow struct {
	Setting string
	Values  []driftValue
}

type driftValue struct {
	Value, Origin string
	Usual         string // what most stacks of the environment have, if this is another
}

// pattern is the usual policy of environments: the value by environment and setting.
type pattern map[string]map[string]string

type driftView struct {
	Account      string
	Accounts     []string
	Environments string // the words

	Columns  []string   // environments that have a usual policy
	Usual    []driftRow // where these differ
	Services []service  // those that break the pattern, or differ where there is none
	Same     int        // services that don't
	Alone    int        // stacks without a sibling
}

// drift compares the policies of stacks that are the same service in several
// environments.
func (p *Pages) drift(c *call) (answer, error) {
	v := &driftView{Environments: cmp.Or(strings.TrimSpace(c.URL.Query().Get("environments")), environments)}
	var err error
	if v.Accounts, v.Account, err = c.account(); err != nil || v.Account == "" {
		return answer{page: driftPage(v)}, err
	}
	all, err := c.allStacks(v.Account)
	if err != nil {
		return answer{}, err
	}
	v.compare(all)
	return show(driftPage(v))
}

// mostStacks bounds the stacks that are read for one answer.
const mostStacks = 10_000

// allStacks returns the managed stacks of an account.
func (c *call) allStacks(account string) (all []api.Stack, err error) {
	params := api.ListStacksParams{PageSize: new(200)}
	return upTo(mostStacks, &params.PageToken, func() ([]api.Stack, *string, error) {
		found, err := c.API.ListStacksWithResponse(c.Context(), account, &params)
		if err != nil {
			return nil, nil, err
		}
		return found.JSON200.Stacks, found.JSON200.NextPageToken, nil
	})
}

// compare fills the view.
func (v *driftView) compare(stacks []api.Stack) {
	all := servicesOf(stacks, v.Environments)
	usual := patternOf(all)
	v.showUsual(usual)
	for _, s := range all {
		s.compare(usual)
		switch {
		case len(s.Rows) > 0:
			v.Services = append(v.Services, s)
		case len(s.Stacks) == 1:
			v.Alone++
		default:
			v.Same++
		}
	}
	slices.SortStableFunc(v.Services, func(a, b service) int { return cmp.Compare(b.Odd, a.Odd) })
}

// leastUsual is the number of stacks that an environment must have before most of them
// make a pattern.
const leastUsual = 3

// patternOf finds the values that more than half of the stacks of each environment have.
func patternOf(all []service) pattern {
	stacks := map[string]int{}
	counts := map[[3]string]int{} // by environment, setting and value
	found := settingsIn(all)
	for _, s := range all {
		for _, stack := range s.Stacks {
			stacks[stack.Environment]++
			for setting := range found {
				counts[[3]string{stack.Environment, setting, cmp.Or(stack.values[setting].Value, "default")}]++
			}
		}
	}
	usual := pattern{}
	for key, n := range counts {
		environment, setting, value := key[0], key[1], key[2]
		if environment == "" || stacks[environment] < leastUsual {
			continue
		}
		if usual[environment] == nil {
			usual[environment] = map[string]string{}
		}
		if 2*n > stacks[environment] {
			usual[environment][setting] = value
		}
	}
	return usual
}

// settingsIn returns the settings that some stack has a value for.
func settingsIn(all []service) map[string]bool {
	found := map[string]bool{}
	for _, s := range all {
		for _, stack := range s.Stacks {
			for setting := range stack.values {
				found[setting] = true
			}
		}
	}
	return found
}

// showUsual lists the settings in which the usual policies of environments differ.
func (v *driftView) showUsual(usual pattern) {
	found := map[string]bool{}
	for environment, values := range usual {
		v.Columns = append(v.Columns, environment)
		for setting := range values {
			found[setting] = true
		}
	}
	slices.SortFunc(v.Columns, byEnvironment(wordsOf(v.Environments)))
	for _, setting := range sorted(found) {
		row := driftRow{Setting: setting}
		differs := false
		for _, environment := range v.Columns {
			row.Values = append(row.Values, driftValue{Value: cmp.Or(usual[environment][setting], "no pattern")})
			differs = differs || row.Values[0].Value != row.Values[len(row.Values)-1].Value
		}
		if differs {
			v.Usual = append(v.Usual, row)
		}
	}
}

// wordsOf splits a list of words for environments.
func wordsOf(list string) []string {
	words := strings.FieldsFunc(strings.ToLower(list), func(r rune) bool { return r == ' ' || r == ',' })
	return words[:min(len(words), mostEnvironments)]
}

// byEnvironment orders environments by their first words.
func byEnvironment(words []string) func(a, b string) int {
	place := func(environment string) int {
		first, _, _ := strings.Cut(environment, " ")
		return slices.Index(words, strings.ToLower(first))
	}
	return func(a, b string) int { return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b)) }
}

// settingOrder is the order in which settings are compared; others follow.
var settingOrder = []string{"problems", "enforcement", "confirm", "limits.maxAdded", "limits.maxChanged", "limits.maxDeleted", "confirmWhen", "approvalsWhen", "holdWhen", "approvals", "approvers", "selfApproval", "windows"}

// sorted returns settings in the order in which they are compared.
func sorted(found map[string]bool) []string {
	all := make([]string, 0, len(found))
	for setting := range found {
		all = append(all, setting)
	}
	place := func(name string) int {
		if i := slices.Index(settingOrder, name); i >= 0 {
			return i
		}
		return len(settingOrder)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b)) })
	return all
}

// servicesOf groups stacks by what remains of their ids without words for environments.
func servicesOf(stacks []api.Stack, environments string) []service {
	words := wordsOf(environments)
	index := map[string]int{}
	var all []service
	for _, s := range stacks {
		name, environment := stem(s.Stack, words)
		i, known := index[name]
		if !known {
			i = len(all)
			index[name], all = i, append(all, service{Name: name})
		}
		all[i].Stacks = append(all[i].Stacks, sibling{s, environment, valuesOf(s)})
	}
	order := byEnvironment(words)
	for _, s := range all {
		slices.SortStableFunc(s.Stacks, func(a, b sibling) int { return order(a.Environment, b.Environment) })
	}
	slices.SortFunc(all, func(a, b service) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// stem splits an id into the name of the service, with * for the environment, and the
// words for the environment.
func stem(id string, words []string) (name, environment string) {
	parts := strings.FieldsFunc(id, func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	var found []string
	for i, part := range parts {
		if slices.Contains(words, strings.ToLower(part)) {
			found, parts[i] = append(found, part), "*"
		}
	}
	if len(found) == 0 || len(found) == len(parts) {
		return id, ""
	}
	parts = slices.CompactFunc(parts, func(a, b string) bool { return a == "*" && b == "*" })
	return strings.Join(parts, "-"), strings.Join(found, " ")
}

// valuesOf returns what is compared of a stack: the effective policy, enforcement and
// problems. The names of the profile and of the stacks that it follows differ by nature.
func valuesOf(s api.Stack) map[string]driftValue {
	values := map[string]driftValue{
		"enforcement": {Value: cmp.Or(level(s), "unknown"), Origin: "Spacelift"},
		"problems":    {Value: "none", Origin: "labels"},
	}
	for _, p := range s.Policy {
		if p.Name != "profile" && p.Name != "after" && p.Origin != "default" {
			values[p.Name] = driftValue{Value: cmp.Or(p.Value, "none"), Origin: p.Origin}
		}
	}
	if n := len(s.Problems); n > 0 {
		values["problems"] = driftValue{Value: plural(n, "label") + " that Gantry can't follow", Origin: "labels"}
	}
	return values
}

// compare finds what is unusual in the environments of a service. Where there is no usual
// policy, it finds what differs.
func (s *service) compare(usual pattern) {
	for _, setting := range sorted(settingsIn([]service{*s})) {
		row := driftRow{Setting: setting}
		odd, differs, known := 0, false, false
		for _, stack := range s.Stacks {
			v := stack.values[setting]
			v.Value = cmp.Or(v.Value, "default") // lists leave most defaults out
			if u := usual[stack.Environment][setting]; u != "" {
				known = true
				if u != v.Value {
					v.Usual, odd = u, odd+1
				}
			}
			row.Values = append(row.Values, v)
			differs = differs || v.Value != row.Values[0].Value
		}
		if odd > 0 || differs && !known {
			s.Rows = append(s.Rows, row)
		}
		s.Odd += odd
	}
}

// headline says how many services differ.
func (v *driftView) headline() string {
	n := len(v.Services)
	switch {
	case n == 0:
		return "Every environment keeps to its pattern"
	case len(v.Columns) == 0 && n == 1:
		return "1 service differs between environments"
	case len(v.Columns) == 0:
		return plural(n, "service") + " differ between environments"
	case n == 1:
		return "1 service breaks the pattern of its environments"
	}
	return plural(n, "service") + " break the pattern of their environments"
}
