package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/a-h/templ"

	"github.com/gantryhq/gantry/gen/api"
)

// chainView is a chain as its page shows it.
type chainView struct {
	*api.Chain
	Stacks   []chainStack // in the order of the chain
	InTheWay []chainStack // the most urgent first
	Counts   map[mark]int
	Show     mark // what the list is filtered by; empty for all
	All      bool // draw and list every stack
	Drawing  drawing
	Picked   *chainStack // the stack that somebody chose in the graph
	Commit   *api.Commit // of the run that began the chain, if it is known
	Refused  *refusedChange
	Notice   string // what a change did

	runs map[string]string // the stack of each run of the chain
}

// chainStack is a stack of a chain as its page shows it.
type chainStack struct {
	api.ChainNode
	Mark      mark
	Blocks    int      // stacks behind it that have not passed
	Followers []string // that follow it directly
	Waits     *api.WaitingFor
}

// refusedChange is a change that the API refused, and the place of its button.
type refusedChange struct {
	Do, Stack string
	*Refusal
	Note string // what the person wrote
}

// chain shows a chain: who is in the way, the graph, and its stacks.
func (p *Pages) chain(c *call) (answer, error) { return p.showChain(c, nil, "") }

// changeChain takes the forms of the page: retry a run, skip a stack, stop the chain.
func (p *Pages) changeChain(c *call) (answer, error) {
	do, stack, note := c.PostFormValue("do"), c.PostFormValue("stack"), c.PostFormValue("note")
	done, err := c.doToChain(do, stack, note)
	refusal, refused := errors.AsType[*Refusal](err)
	switch {
	case refused:
		return p.showChain(c, &refusedChange{do, stack, refusal, note}, "")
	case err != nil:
		return answer{}, err
	}
	return p.showChain(c, nil, done)
}

// doToChain carries out a change. It returns what it did, as a sentence.
func (c *call) doToChain(do, stack, note string) (string, error) {
	account, run := c.PathValue("account"), c.PathValue("run")
	action := api.ActionRequest{}
	if note != "" {
		action.Note = &note
	}
	switch do {
	case "retry":
		answer, err := c.API.RetryRunWithResponse(c.Context(), account, stack, c.PostFormValue("run"), &api.RetryRunParams{IdempotencyKey: c.key()}, action)
		if err != nil {
			return "", err
		}
		if answer.JSON202 != nil {
			return fmt.Sprintf("The retry of %s is in progress; Spacelift has not answered yet.", stack), nil
		}
		return fmt.Sprintf("Spacelift retries %s.", stack), nil
	case "skip":
		_, err := c.API.SkipChainStackWithResponse(c.Context(), account, run, &api.SkipChainStackParams{IdempotencyKey: c.key()}, api.SkipRequest{Stack: stack, Note: action.Note})
		return fmt.Sprintf("You skipped %s. The chain continues as if its run had finished.", stack), err
	case "stop":
		_, err := c.API.StopChainWithResponse(c.Context(), account, run, &api.StopChainParams{IdempotencyKey: c.key()}, action)
		return "You stopped the chain. Gantry triggers no more runs of it; active runs continue.", err
	}
	return "", unknownForm()
}

// unknownForm refuses a form that this version of the page doesn't have.
func unknownForm() error {
	return &Refusal{api.Problem{Title: "Unknown form", Status: http.StatusBadRequest, Detail: new("the form is from another version of Gantry; load the page again")}}
}

// showChain shows the chain as it is now.
func (p *Pages) showChain(c *call, refused *refusedChange, notice string) (answer, error) {
	account, run := c.PathValue("account"), c.PathValue("run")
	found, err := c.API.GetChainWithResponse(c.Context(), account, run)
	if err != nil {
		return answer{}, err
	}
	v := newChainView(found.JSON200, c.waitingRuns(found.JSON200))
	v.Refused, v.Notice = refused, notice
	query := c.URL.Query()
	v.Show, v.All = mark(query.Get("show")), query.Has("all")
	if i := slices.IndexFunc(v.Stacks, func(s chainStack) bool { return s.Stack == query.Get("stack") }); i >= 0 {
		v.Picked = &v.Stacks[i]
	}
	if began, err := c.API.GetRunWithResponse(c.Context(), account, v.Stack, run); err == nil { // Temporal may not keep it any more
		v.Commit = began.JSON200.Commit
	}
	v.Drawing = p.draw(v.graph())
	a := answer{page: chainPage(v)}
	if refused != nil {
		a.status = refused.Status
	}
	return a, nil
}

// waitingRuns returns what the runs of a chain wait for, by their ids. Without an answer,
// the chain's own states have to do.
func (c *call) waitingRuns(chain *api.Chain) map[string]*api.WaitingFor {
	waits := map[string]*api.WaitingFor{}
	if !slices.ContainsFunc(chain.Nodes, func(n api.ChainNode) bool { return n.State == "running" }) {
		return waits
	}
	found, err := c.API.ListRunsWithResponse(c.Context(), &api.ListRunsParams{
		Account: &chain.Account, Chain: &chain.Run, Waiting: new("any"), Order: new(api.ListRunsParamsOrderOldest), PageSize: new(200),
	})
	if err != nil {
		return waits
	}
	for _, r := range found.JSON200.Runs {
		waits[r.Run] = r.WaitingFor
	}
	return waits
}

// newChainView returns a chain with what the page derives from it.
func newChainView(c *api.Chain, waits map[string]*api.WaitingFor) *chainView {
	v := &chainView{Chain: c, Counts: map[mark]int{}, runs: map[string]string{c.Run: c.Stack}}
	behind := behindEach(c.Nodes)
	for _, n := range c.Nodes {
		s := chainStack{ChainNode: n, Followers: behind.direct[n.Stack], Waits: waits[deref(n.Run)]}
		s.Mark = s.mark()
		for _, run := range n.Runs {
			v.runs[run] = n.Stack
		}
		v.Counts[s.Mark]++
		v.Stacks = append(v.Stacks, s)
	}
	if c.EndedAt != nil {
		return v
	}
	for i := range v.Stacks {
		if s := &v.Stacks[i]; s.Mark.inTheWay() {
			s.Blocks = behind.count(i, func(j int) bool { return !v.Stacks[j].Mark.passed() })
			v.InTheWay = append(v.InTheWay, *s)
		}
	}
	slices.SortStableFunc(v.InTheWay, func(a, b chainStack) int {
		return cmp.Or(cmp.Compare(slices.Index(marks, a.Mark), slices.Index(marks, b.Mark)), cmp.Compare(b.Blocks, a.Blocks))
	})
	return v
}

// mark returns the mark of a stack.
func (s chainStack) mark() mark {
	switch s.State {
	case "finished":
		return markDone
	case "skipped":
		return markSkipped
	case "failed":
		return markFailed
	case "held":
		return markHeld
	case "releasing":
		return markMoving
	case "running":
		return s.runMark()
	}
	return markWaiting
}

// runMark returns the mark of a stack whose run is in progress, by what the run waits for.
func (s chainStack) runMark() mark {
	if s.Waits == nil {
		if state := deref(s.RunState); state == "UNCONFIRMED" || state == "PENDING_REVIEW" {
			return markAsks
		}
		return markMoving
	}
	switch s.Waits.What {
	case "person":
		return markAsks
	case "labels", "stack", "policy":
		return markHeld
	}
	return markMoving
}

// behind holds the stacks behind each stack of a chain.
type behind struct {
	direct    map[string][]string
	followers [][]int
	seen      []int // the stack for which each was counted last, and 1
}

func behindEach(nodes []api.ChainNode) *behind {
	b := &behind{map[string][]string{}, make([][]int, len(nodes)), make([]int, len(nodes))}
	index := map[string]int{}
	for i, n := range nodes {
		index[n.Stack] = i
		for _, a := range n.After {
			b.direct[a] = append(b.direct[a], n.Stack)
			if j, ok := index[a]; ok {
				b.followers[j] = append(b.followers[j], i)
			}
		}
	}
	return b
}

// count counts the stacks behind one, directly or not.
func (b *behind) count(of int, counts func(int) bool) (n int) {
	next := slices.Clone(b.followers[of])
	for len(next) > 0 {
		i := next[len(next)-1]
		next = next[:len(next)-1]
		if b.seen[i] == of+1 {
			continue
		}
		b.seen[i] = of + 1
		if counts(i) {
			n++
		}
		next = append(next, b.followers[i]...)
	}
	return n
}

// graph returns what is drawn of the chain.
func (v *chainView) graph() []graphStack {
	all := make([]graphStack, len(v.Stacks))
	for i, s := range v.Stacks {
		all[i] = graphStack{Stack: s.Stack, After: s.After, Mark: s.Mark, Short: s.short(), Long: v.plain(s.own()), To: pick(s.Stack)}
	}
	if v.All {
		return all
	}
	return fold(all, func(m mark) templ.SafeURL { return templ.SafeURL("?show=" + string(m) + "#stacks") })
}

// pick returns the address that shows one stack of a chain.
func pick(stack string) templ.SafeURL {
	return templ.SafeURL("?stack=" + url.QueryEscape(stack) + "#picked")
}

// short returns the state of a stack in a few words.
func (s chainStack) short() string {
	switch s.Mark {
	case markMoving:
		switch {
		case s.Waits != nil && s.Waits.What == "gate":
			return "waits for its window"
		case s.RunState != nil:
			return runStateWords(*s.RunState)
		}
		return "Gantry triggers a run"
	case markFailed, markDone:
		if s.RunState != nil && *s.RunState != "FINISHED" {
			return runStateWords(*s.RunState)
		}
	case markHeld:
		if s.State == "held" {
			return "can't be triggered"
		}
	case markWaiting:
		if len(s.After) == 1 {
			return "after " + s.After[0]
		}
		return "after " + plural(len(s.After), "stack")
	}
	return s.Mark.word()
}

// runStateWords returns a state of Spacelift's in lower case.
func runStateWords(s api.RunState) string {
	return strings.ToLower(strings.ReplaceAll(s, "_", " "))
}

// own returns why the stack is in its state, beside its name: what its run waits for or
// did, or what it waits for itself.
func (s chainStack) own() string {
	if s.Waits != nil && s.State == "running" {
		text := s.Waits.Reason
		if who := deref(s.Waits.Who); who != "" && s.Mark == markAsks {
			text += "; " + who + " can decide"
		}
		return text
	}
	if s.Run != nil {
		if rest, ok := strings.CutPrefix(s.Reason, "run "+*s.Run); ok {
			return "its run " + *s.Run + strings.TrimPrefix(rest, " of "+s.Stack)
		}
	}
	return s.Reason
}

// stopped returns text with a full stop.
func stopped(text string) string {
	if text == "" || strings.ContainsAny(text[len(text)-1:], ".!?") {
		return text
	}
	return text + "."
}

// initial returns a sentence with a capital, unless it begins with the name of a stack.
func (v *chainView) initial(text string) string {
	first, _, _ := strings.Cut(text, " ")
	if slices.ContainsFunc(v.Nodes, func(n api.ChainNode) bool { return n.Stack == first }) {
		return text
	}
	return initial(text)
}

// behindWords says how many stacks wait behind one.
func (s chainStack) behindWords() string {
	switch s.Blocks {
	case 0:
		return "Nothing waits behind it."
	case 1:
		return "1 stack waits behind it."
	}
	return fmt.Sprintf("%d stacks wait behind it.", s.Blocks)
}

// headline says how large the chain is.
func (v *chainView) headline() string {
	n := len(v.Stacks) - 1
	if n == 1 {
		return "1 stack follows"
	}
	return fmt.Sprintf("%d stacks follow", max(n, 0))
}

// progress counts the stacks by their marks.
func (v *chainView) progress() string {
	var parts []string
	for _, m := range slices.Backward(marks) {
		if n := v.Counts[m]; n > 0 {
			word := m.word()
			if m == markAsks && n > 1 {
				word = "wait for people"
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	return strings.Join(parts, ", ")
}

// standing says in a sentence how far the chain is.
func (v *chainView) standing() string {
	return initial(string(v.Phase)) + ": " + v.progress() + "."
}

// answer says in one sentence who is in the way.
func (v *chainView) answer() string {
	var who []string
	for i, s := range v.InTheWay {
		if i == 3 {
			who = append(who, fmt.Sprintf("%d more", len(v.InTheWay)-i))
			break
		}
		verb := map[mark]string{markFailed: " failed", markHeld: " is held", markAsks: " waits for people"}[s.Mark]
		who = append(who, s.Stack+verb)
	}
	return strings.Join(who, ", ")
}

// tone returns the style of the box at the top.
func (v *chainView) tone() string {
	switch {
	case v.EndedAt != nil && v.Counts[markDone]+v.Counts[markSkipped] == len(v.Stacks):
		return "go"
	case v.EndedAt != nil:
		return "plain"
	case v.Counts[markFailed]+v.Counts[markHeld] > 0:
		return "stop"
	case v.Counts[markAsks] > 0:
		return "warn"
	}
	return "plain"
}

// mostListed is the number of stacks that are listed unless somebody asks for all.
const mostListed = 100

// listed returns the stacks that the list shows, the most urgent first, and the number of
// those that it leaves out.
func (v *chainView) listed() (all []chainStack, more int) {
	for _, m := range marks {
		if v.Show != "" && v.Show != m {
			continue
		}
		for _, s := range v.Stacks {
			if s.Mark == m {
				all = append(all, s)
			}
		}
	}
	if more = len(all) - mostListed; more > 0 && !v.All {
		return all[:mostListed], more
	}
	return all, 0
}

// chips are the views of the list.
func (v *chainView) chips() []Chip {
	all := []Chip{{Name: "All", Count: len(v.Stacks), To: "?#stacks", Current: v.Show == ""}}
	for _, m := range marks {
		if v.Counts[m] > 0 {
			all = append(all, Chip{Name: initial(m.word()), Count: v.Counts[m], To: templ.SafeURL("?show=" + string(m) + "#stacks"), Current: v.Show == m})
		}
	}
	return all
}

// phaseMark returns the mark of a chain as a whole.
func phaseMark(phase api.ChainPhase) mark {
	switch phase {
	case "held":
		return markHeld
	case "done":
		return markDone
	}
	return markMoving
}

// newest returns the timeline, the newest entry first.
func (v *chainView) newest() []api.ChainEntry {
	all := slices.Clone(v.Timeline)
	slices.Reverse(all)
	return all
}

// piece is a part of a sentence: text, or a link to a run.
type piece struct {
	Text       string
	Stack, Run string // of the run that it leads to; empty for text
}

// pieces turns the ids of the chain's runs in a sentence into links.
func (v *chainView) pieces(text string) []piece {
	var all []piece
	rest := text
	for at := 0; at < len(text); {
		end := at
		for end < len(text) && isIDByte(text[end]) {
			end++
		}
		id := text[at:end]
		stack, known := v.runs[id]
		if !known {
			at = max(end, at+1)
			continue
		}
		before, shown := rest[:len(rest)-len(text)+at], "…"+id[max(0, len(id)-4):]
		for _, word := range []string{"run", "Run"} {
			if cut, ok := strings.CutSuffix(before, word+" "); ok {
				before, shown = cut, word
			}
		}
		if before != "" {
			all = append(all, piece{Text: before})
		}
		all = append(all, piece{shown, stack, id})
		at, rest = end, text[end:]
	}
	if rest != "" {
		all = append(all, piece{Text: rest})
	}
	return all
}

// plain returns a sentence without the ids of runs.
func (v *chainView) plain(text string) string {
	var b strings.Builder
	for _, p := range v.pieces(text) {
		b.WriteString(p.Text)
	}
	return b.String()
}

func isIDByte(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '-' || b == '_'
}

// mostBlockers is the number of stacks in the way that have their buttons at the top.
const mostBlockers = 5

// refusedElsewhere returns a refusal that no stack on the page shows beside its buttons;
// nil if there is none.
func (v *chainView) refusedElsewhere() *refusedChange {
	r := v.Refused
	if r == nil || v.Picked != nil && v.Picked.Stack == r.Stack {
		return nil
	}
	first := v.InTheWay[:min(len(v.InTheWay), mostBlockers)]
	if slices.ContainsFunc(first, func(s chainStack) bool { return s.Stack == r.Stack }) {
		return nil
	}
	return r
}

// refusedAt returns the refusal of a change to a stack; nil if there was none. An empty do
// is any change.
func (v *chainView) refusedAt(stack, do string) *refusedChange {
	if v.Refused != nil && v.Refused.Stack == stack && (do == "" || v.Refused.Do == do) {
		return v.Refused
	}
	return nil
}
