package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/gen/api"
)

// Views of the page Waiting.
const (
	viewMine     = "" // the caller may decide about them
	viewGroups   = "groups"
	viewAsked    = "asked"
	viewHeld     = "held"
	viewBypassed = "bypassed"
	viewAll      = "all"
)

// pageOfRuns bounds the runs that the page reads and shows.
const pageOfRuns = 50

// waitingList is the content of the page Waiting.
type waitingList struct {
	view   string
	query  url.Values
	counts map[string]int
	cards  []card
	next   *string   // token of the next cards; nil on the last page
	oldest time.Time // since when the oldest run of the view waits; zero for none
	others int       // runs that wait for others than the caller
	result decided
}

// decided is the result of decisions that the page has sent.
type decided struct {
	done    string              // what counted, as a sentence
	refused map[string]*Refusal // by the key of a run
	verdict api.Verdict         // of the form
	note    string              // of the form
}

// card is one run, or several that are identical.
type card struct {
	runs    []api.RunSummary
	refused *Refusal
	verdict api.Verdict // that was refused
	note    string      // that was refused
}

func (c card) first() api.RunSummary { return c.runs[0] }

// runKey names a run in a form.
func runKey(r api.RunSummary) string {
	version := ""
	if r.StateVersion != nil {
		version = strconv.Itoa(*r.StateVersion)
	}
	return strings.Join([]string{url.PathEscape(r.Account), url.PathEscape(r.Stack), url.PathEscape(r.Run), version}, "/")
}

// may reports whether the API would take a decision from the caller now.
func may(r api.RunSummary, v api.Verdict) bool { return slices.Contains(r.CanDecide, v) }

func (p *Pages) waiting(c *call) (answer, error) {
	l, err := p.readWaiting(c, decided{})
	if err != nil {
		return answer{}, err
	}
	return show(waitingPage(l))
}

// listOf returns what the API lists for a view; nil for a view that there isn't.
func listOf(view string) *api.ListRunsParams {
	waiting := &api.ListRunsParams{Waiting: new("any"), Order: new(api.ListRunsParamsOrderOldest)}
	switch view {
	case viewMine:
		waiting.CanDecide = new(api.ListRunsParamsCanDecideMe)
	case viewGroups:
		waiting.Group = new("me")
	case viewAsked:
		waiting.Author = new("me")
	case viewHeld:
		waiting.Held = new(true)
	case viewBypassed:
		return &api.ListRunsParams{Bypassed: new(true)}
	case viewAll:
	default:
		return nil
	}
	return waiting
}

// readWaiting reads how many runs wait, and those of the view.
func (p *Pages) readWaiting(c *call, result decided) (waitingList, error) {
	l := waitingList{view: c.URL.Query().Get("show"), query: c.URL.Query(), result: result}
	params := listOf(l.view)
	if params == nil {
		l.view, params = viewMine, listOf(viewMine)
	}
	counts, err := c.API.CountRunsWithResponse(c.Context(), &api.CountRunsParams{})
	if err != nil {
		return l, err
	}
	n := counts.JSON200
	l.counts = map[string]int{
		viewMine: n.CanDecide, viewGroups: n.Group, viewAsked: n.Author, viewHeld: n.Held, viewBypassed: n.Bypassed, viewAll: n.Waiting,
	}
	l.others = n.Waiting - n.CanDecide
	params.PageSize = new(pageOfRuns)
	if token := l.query.Get("pageToken"); token != "" {
		params.PageToken = &token
	}
	page, err := c.API.ListRunsWithResponse(c.Context(), params)
	if err != nil {
		return l, err
	}
	l.cards, l.next = cardsOf(page.JSON200.Runs), page.JSON200.NextPageToken
	if len(l.cards) > 0 && params.PageToken == nil {
		l.oldest = since(l.cards[0].first())
	}
	for i := range l.cards {
		for _, r := range l.cards[i].runs {
			if why := result.refused[runKey(r)]; why != nil && l.cards[i].refused == nil {
				l.cards[i].refused, l.cards[i].verdict, l.cards[i].note = why, result.verdict, result.note
			}
		}
	}
	return l, nil
}

// since returns since when a run waits.
func since(r api.RunSummary) time.Time {
	if r.WaitingFor != nil {
		return r.WaitingFor.Since
	}
	return r.StartedAt
}

// cardsOf puts runs on cards, of which identical plans that the caller may approve share
// one: those of the same commit with the same changes.
func cardsOf(runs []api.RunSummary) []card {
	var all []card
	place := map[string]int{}
	for _, r := range runs {
		what, ok := identity(r)
		if i, seen := place[what]; ok && seen {
			all[i].runs = append(all[i].runs, r)
			continue
		}
		if ok {
			place[what] = len(all)
		}
		all = append(all, card{runs: []api.RunSummary{r}})
	}
	return all
}

// identity returns what identical plans have in common. A plan that isn't to be approved,
// whose commit or changes are unknown, or that destroys more than lists show, is like no
// other.
func identity(r api.RunSummary) (string, bool) {
	if !may(r, api.VerdictApprove) || r.Commit == nil || deref(r.Commit.Hash) == "" || r.Delta == nil || r.Approvals == nil {
		return "", false
	}
	shown := dangers(r.Resources)
	if hidden(r.Resources, len(shown)) > 0 || r.Delta.Deleted > 0 && len(shown) == 0 {
		return "", false
	}
	var what strings.Builder
	fmt.Fprintf(&what, "%s %d %d %d %s", *r.Commit.Hash, r.Delta.Added, r.Delta.Changed, r.Delta.Deleted, deref(r.Approvals.Group))
	for _, d := range shown {
		fmt.Fprintf(&what, " %s %q", d.Change, d.Address)
	}
	return what.String(), true
}

// verdicts has the decisions that a form may send, and the words for each that counted.
var verdicts = map[api.Verdict]string{api.VerdictApprove: "approved", api.VerdictReject: "rejected", api.VerdictRevoke: "revoked your approval of"}

// decideWaiting sends the decision of a form about one run, or about identical ones.
func (p *Pages) decideWaiting(c *call) (answer, error) {
	if err := c.ParseForm(); err != nil {
		return answer{}, err
	}
	verdict := api.Verdict(c.PostForm.Get("verdict"))
	result, status := decided{refused: map[string]*Refusal{}, verdict: verdict, note: c.PostForm.Get("note")}, http.StatusOK
	var counted []string
	for i, key := range c.PostForm["run"] {
		stack, err := c.decide(key, verdict, i)
		refusal, refused := errors.AsType[*Refusal](err)
		switch {
		case refused:
			result.refused[key], status = refusal, max(status, refusal.Status)
		case err != nil:
			return answer{}, err
		default:
			counted = append(counted, stack)
		}
	}
	if len(counted) > 0 {
		result.done = fmt.Sprintf("You %s %s.", verdicts[verdict], listed(counted))
	}
	if status == http.StatusOK && c.Header.Get("HX-Request") == "" {
		return answer{to: "?" + c.URL.RawQuery}, nil
	}
	l, err := p.readWaiting(c, result)
	if err != nil {
		return answer{}, err
	}
	return answer{status: status, page: waitingPage(l)}, nil
}

// decide sends a decision about a run that a form names, and returns its stack.
func (c *call) decide(key string, verdict api.Verdict, number int) (string, error) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 || verdicts[verdict] == "" {
		return "", &Refusal{api.Problem{Status: http.StatusBadRequest, Title: "Invalid form", Detail: new("load the page again, then decide")}}
	}
	for i, part := range parts {
		parts[i], _ = url.PathUnescape(part) // what can't be read names no run
	}
	body := api.DecisionRequest{Verdict: verdict}
	if note := strings.TrimSpace(c.PostForm.Get("note")); note != "" {
		body.Note = &note
	}
	if version, err := strconv.Atoi(parts[3]); err == nil {
		body.StateVersion = &version
	}
	params := &api.DecideRunParams{}
	if k := c.key(); k != nil {
		params.IdempotencyKey = new(*k + "-" + strconv.Itoa(number))
	}
	_, err := c.API.DecideRunWithResponse(c.Context(), parts[0], parts[1], parts[2], params, body)
	return parts[1], err
}

// listed returns names as a sentence lists them.
func listed(names []string) string {
	switch n := len(names); {
	case n > 4:
		return plural(n, "plan")
	case n > 1:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return names[0]
}

// headline returns the answer to what the page is asked.
func (l waitingList) headline() string {
	n := l.counts[l.view]
	wait := "wait"
	if n == 1 {
		wait = "waits"
	}
	switch l.view {
	case viewMine:
		if n == 0 {
			return "Nothing waits for you"
		}
		return plural(n, "plan") + " " + wait + " for you"
	case viewGroups:
		return plural(n, "plan") + " " + wait + " for your groups"
	case viewAsked:
		return plural(n, "run") + " of yours " + wait
	case viewHeld:
		if n == 1 {
			return "1 run is held"
		}
		return plural(n, "run") + " are held"
	case viewBypassed:
		if n == 1 {
			return "1 run was bypassed"
		}
		return plural(n, "run") + " were bypassed"
	}
	return plural(n, "run") + " " + wait
}

// lostRefusals returns the refusals about runs that no card shows any more, by stack.
func (l waitingList) lostRefusals() map[string]*Refusal {
	lost := map[string]*Refusal{}
	for key, r := range l.result.refused {
		shown := slices.ContainsFunc(l.cards, func(c card) bool {
			return slices.ContainsFunc(c.runs, func(r api.RunSummary) bool { return runKey(r) == key })
		})
		if parts := strings.Split(key, "/"); !shown && len(parts) == 4 {
			name, _ := url.PathUnescape(parts[1])
			lost[name] = r
		} else if !shown {
			lost[key] = r
		}
	}
	return lost
}

// chips are the views of the page.
func (l waitingList) chips() []Chip {
	var all []Chip
	for _, v := range []struct{ name, view string }{
		{"For me", viewMine}, {"My groups", viewGroups}, {"Asked by me", viewAsked}, {"Held", viewHeld}, {"Bypassed", viewBypassed}, {"All", viewAll},
	} {
		address := with(url.Values{}, "show", v.view)
		if v.view == viewMine {
			address = "./"
		}
		all = append(all, Chip{Name: v.name, Count: l.counts[v.view], To: address, Current: v.view == l.view})
	}
	return all
}

// urgency returns the class of a card: late if its deadline is near, soon if it destroys
// something or is held.
func (c card) urgency(now time.Time) string {
	r := c.first()
	switch {
	case deref(r.Bypassed), r.WaitingFor != nil && r.WaitingFor.Until != nil && r.WaitingFor.What == "person" && r.WaitingFor.Until.Sub(now) < time.Hour:
		return "late"
	case r.Phase == api.PhaseHolding, r.Delta != nil && r.Delta.Deleted > 0:
		return "soon"
	}
	return ""
}

// dangers returns the first resources that a plan destroys.
func dangers(p *api.PlannedResources) []api.Resource {
	if p == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.First), func(r api.Resource) bool { return !destroys(r.Change) })
}

// hidden returns how many resources a plan destroys beside those that are shown.
func hidden(p *api.PlannedResources, shown int) int {
	if p == nil {
		return 0
	}
	return max(0, deref(p.Deletes)+deref(p.Replaces)-shown)
}

// dots shows approvals: one filled for each that was given.
func dots(n int) string { return strings.Repeat("●", min(max(n, 0), 10)) }

// approvers returns the people whose approvals count.
func approvers(a *api.Approvals) []string {
	var all []string
	for _, d := range a.Decided {
		if d.Verdict == api.VerdictApprove && !deref(d.Revoked) && d.Discounted == nil {
			all = append(all, d.By)
		}
	}
	return all
}

// author returns who wrote or triggered a run.
func author(commit *api.Commit, triggeredBy *string) string {
	if commit == nil {
		return deref(triggeredBy)
	}
	return cmp.Or(deref(commit.AuthorLogin), deref(commit.AuthorName), deref(triggeredBy))
}

// nameOf returns the name of a run's stack.
func nameOf(r api.RunSummary) string { return cmp.Or(deref(r.StackName), r.Stack) }
