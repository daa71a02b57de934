package checker

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// shown is a run as Gantry shows it.
type shown struct {
	Run          string        `json:"run"`
	Stack        string        `json:"stack"`
	State        string        `json:"state"`
	StateVersion int           `json:"stateVersion"`
	Phase        string        `json:"phase"`
	Managed      bool          `json:"managed"`
	Labels       []string      `json:"labels"`
	Policy       []policyValue `json:"policy"`
	Decisions    []decided     `json:"decisions"`
	States       []stateEntry  `json:"states"`
	Timeline     []entry       `json:"timeline"`
	Followers    []string      `json:"followers"`
	Bypass       *bypass       `json:"bypass"`
	Enforcement  *worth        `json:"enforcement"`
	Chains       []begunBy     `json:"chains"`
}

// begunBy names the run that a chain began with.
type begunBy struct {
	Stack string `json:"stack"`
	Run   string `json:"run"`
}

// worth is the worth of Gantry's policy in Spacelift, as an answer shows it.
type worth struct {
	Level string `json:"level"`
}

type bypass struct {
	StateVersion int    `json:"stateVersion"`
	Reason       string `json:"reason"`
}

type policyValue struct {
	Name    string `json:"name"`
	Origin  string `json:"origin"`
	Value   string `json:"value"`
	Problem string `json:"problem"`
}

type decided struct {
	By           string `json:"by"`
	Verdict      string `json:"verdict"`
	StateVersion int    `json:"stateVersion"`
	Discounted   string `json:"discounted"`
	Revoked      bool   `json:"revoked"`
}

type stateEntry struct {
	State        string `json:"state"`
	StateVersion int    `json:"stateVersion"`
}

type entry struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Actor   string    `json:"actor"`
	Summary string    `json:"summary"`
}

// shown returns the answers that show the run whole, in order, with their records.
func (r *run) shown() []view {
	var all []view
	for _, q := range r.operations("getRun") {
		if answered(q) {
			all = append(all, view{q, decode[shown](q.Request.Answer)})
		}
	}
	return all
}

type view struct {
	asked rec
	shown
}

// settled returns the last view of a run, if it was asked after everything had ended.
func (x *index) settled(r *run) (view, bool) {
	views := r.shown()
	at, calm := x.phases["settled"]
	if len(views) == 0 || !calm || views[len(views)-1].asked.Began < at {
		return view{}, false
	}
	return views[len(views)-1], true
}

// actsAreRecorded finds acts of Gantry's that took effect and are on no timeline.
func actsAreRecorded(x *index) []Violation {
	words := map[string]string{"CONFIRMED": "confirm", "DISCARDED": "discard"}
	var all []Violation
	for _, r := range x.order {
		v, ok := x.settled(r)
		if !ok {
			continue
		}
		x.judged(r, r.life())
		for _, s := range r.states {
			word := words[s.RunState.State]
			if word == "" || s.RunState.By != x.batch.Actor || s.Ended+aftermath > v.asked.Began {
				continue
			}
			if !slices.ContainsFunc(v.Timeline, func(e entry) bool {
				// A lost task leaves the note in Spacelift alone, which names Gantry.
				return (e.Kind == "action" || e.Kind == "alarm" || namesGantry(e.Summary)) && strings.Contains(strings.ToLower(e.Summary), word)
			}) {
				all = append(all, violation(r.name(), "no entry of the timeline says that Gantry moved the run to "+s.RunState.State, s, v.asked))
			}
		}
	}
	return all
}

// refusalsAreNone finds decisions that Gantry shows as counted although it had
// refused each request to make them.
func refusalsAreNone(x *index) []Violation {
	var all []Violation
	for _, r := range x.runs {
		for _, v := range r.shown() {
			x.judged(r, span{v.asked.Began, v.asked.Ended})
			for _, d := range v.Decisions {
				sent := slices.DeleteFunc(r.verdicts(d.Verdict), func(q rec) bool { return x.who(q.Request.Who) != x.who(d.By) })
				switch {
				case len(sent) == 0 && (d.Verdict == "approve" || d.Verdict == "reject" || d.Verdict == "revoke"):
					all = append(all, violation(r.name(), fmt.Sprintf("the run shows a decision of %s that was never sent", d.By), v.asked))
				case len(sent) > 0 && !slices.ContainsFunc(sent, func(q rec) bool { return mayCount(q) && q.Began < v.asked.Ended }):
					all = append(all, violation(r.name(), fmt.Sprintf("the run shows a decision of %s that was refused", d.By), append(sent, v.asked)...))
				}
			}
		}
	}
	return append(firstOf(all), tooLateIsTrue(x)...)
}

// askedWithin is the longest pause between two attempts of Gantry's to act on a run,
// with some more for the attempts.
const askedWithin = 90 * time.Second

// tooLateIsTrue finds refusals because Gantry asks Spacelift for something right now,
// when it doesn't: nobody could ever decide about the plan.
func tooLateIsTrue(x *index) []Violation {
	calm, was := x.phases[history.Calm]
	var all []Violation
	for _, r := range x.order {
		for _, q := range r.verdicts("approve") {
			now, then := r.at(q.Began), r.at(q.Ended)
			if problem(q) != "too-late" || !was || q.Began < calm+x.slowly(askedWithin) || now.N != then.N || now.N == 0 || now.RunState.State != "UNCONFIRMED" {
				continue
			}
			asked := slices.ContainsFunc(append(r.acts, r.reads...), func(c rec) bool { return c.Ended > q.Began-x.slowly(askedWithin) && c.Began < q.Ended })
			ended := slices.ContainsFunc(append(r.verdicts("reject"), r.operations("stopRun")...), func(o rec) bool { return mayCount(o) && o.Began < q.Ended })
			if !asked && !ended {
				all = append(all, violation(r.name(), "an approval is too late for a plan about which Gantry asks nothing", now, q))
			}
		}
	}
	return all
}

// readYourWrites finds answers that don't show a decision that was answered before.
func readYourWrites(x *index) []Violation {
	var all []Violation
	for _, r := range x.runs {
		views := r.shown()
		for _, q := range r.verdicts("approve", "reject") {
			if !answered(q) {
				continue
			}
			x.judged(r, span{q.Began, q.Ended})
			for _, v := range views {
				if v.asked.Began <= q.Ended || slices.ContainsFunc(v.Decisions, func(d decided) bool { return x.who(d.By) == x.who(q.Request.Who) && d.Verdict == decision(q).Verdict }) {
					continue
				}
				all = append(all, violation(r.name(), fmt.Sprintf("the run doesn't show the %s of %s, which was answered before", decision(q).Verdict, q.Request.Who), q, v.asked))
			}
		}
	}
	return append(firstOf(all), freezesAreListed(x)...)
}

// freezesAreListed finds lists without a freeze that was answered, or with one that
// was lifted.
func freezesAreListed(x *index) []Violation {
	var all []Violation
	frozen := x.freezes()
	for _, q := range x.requests {
		if q.Request.Operation != "listFreezes" || !answered(q) {
			continue
		}
		list := decode[struct {
			Freezes []freezeBody `json:"freezes"`
		}](q.Request.Answer)
		for _, f := range frozen {
			id := decode[freezeBody](f.declared.Request.Answer).ID
			listed := slices.ContainsFunc(list.Freezes, func(l freezeBody) bool { return l.ID == id })
			over := !f.End.IsZero() && !x.wall(q.Began).Add(x.slack(span{q.Began, q.Ended})).Before(f.End)
			gone := slices.ContainsFunc(f.lifted, func(l rec) bool { return answered(l) && l.Ended < q.Began })
			touched := slices.ContainsFunc(f.lifted, func(l rec) bool { return l.Began < q.Ended })
			switch {
			case f.declared.Ended < q.Began && !listed && !over && !touched:
				all = append(all, violation(id, "the list lacks a freeze that was declared before", f.declared, q))
			case gone && listed:
				all = append(all, violation(id, "the list shows a freeze that was lifted before", append(f.lifted, f.declared, q)...))
			}
		}
	}
	return firstOf(all)
}

// who returns one name for all tokens of a person: Gantry shows decisions under the
// person's name.
func (x *index) who(name string) string {
	if len(x.setups) == 0 {
		return name
	}
	return model.Config(*x.setups[0].Setup).Who(name)
}

// firstOf keeps the first violation of each subject: one fault shows in every later answer.
func firstOf(all []Violation) []Violation {
	seen := map[string]bool{}
	slices.SortStableFunc(all, func(a, b Violation) int { return a.lastRecord() - b.lastRecord() })
	return slices.DeleteFunc(all, func(v Violation) bool {
		was := seen[v.Subject+v.Says]
		seen[v.Subject+v.Says] = true
		return was
	})
}

func (v Violation) lastRecord() int {
	if len(v.Evidence) == 0 {
		return 0
	}
	return v.Evidence[len(v.Evidence)-1].N
}

// keysCountOnce finds requests under one key that got different answers, and other
// requests under it that were not refused.
func keysCountOnce(x *index) []Violation {
	type subject struct{ who, key, path string }
	first := map[subject]rec{}
	var all []Violation
	for _, q := range x.requests {
		if q.Request.Key == "" || !answered(q) && !refused(q) || q.Request.Status == http.StatusTooManyRequests || q.Request.Status == http.StatusUnauthorized {
			continue
		}
		x.judged(nil, span{q.Began, q.Ended})
		s := subject{q.Request.Who, q.Request.Key, q.Request.Method + q.Request.Path}
		before, was := first[s]
		switch {
		case !was:
			if answered(q) {
				first[s] = q
			}
		case before.Ended > q.Began && !answered(q): // they came together
		case !same(before.Request.Body, q.Request.Body):
			if answered(q) {
				all = append(all, violation(q.Request.Path, "another request under the key "+s.key+" counted too", before, q))
			}
		case before.Request.Status == http.StatusAccepted: // the repeat reads the result, even a refusal
			delete(first, s)
			if answered(q) {
				first[s] = q
			}
		case !answered(q):
			all = append(all, violation(q.Request.Path, "the repeat under the key "+s.key+" was refused", before, q))
		case q.Request.Status != http.StatusAccepted && identity(before) != identity(q):
			all = append(all, violation(q.Request.Path, "the repeat under the key "+s.key+" made something else", before, q))
		}
	}
	return all
}

// same compares JSON texts.
func same(a, b []byte) bool {
	return fmt.Sprint(decode[any](a)) == fmt.Sprint(decode[any](b))
}

// identity returns the id of what a request made.
func identity(q rec) string {
	made := decode[struct {
		ID  string `json:"id"`
		New string `json:"new"`
		Run string `json:"run"`
	}](q.Request.Answer)
	switch q.Request.Operation {
	case "declareFreeze":
		return made.ID
	case "retryRun":
		return made.New
	case "triggerRun":
		return made.Run
	}
	return ""
}

// namesGantry reports whether a summary says that Gantry did something, or that somebody
// did it through Gantry.
func namesGantry(summary string) bool {
	return strings.Contains(summary, "by Gantry") || strings.Contains(summary, "through Gantry")
}
