package checker

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// ballot is the state of the decisions about one plan: who has approved. It is a
// sorted list in one string, so that porcupine can compare states.
type ballot string

func (b ballot) has(who string) bool { return strings.Contains(string(b), "|"+who+"|") }

func (b ballot) with(who string) ballot {
	if b.has(who) {
		return b
	}
	all := append(strings.FieldsFunc(string(b), func(r rune) bool { return r == '|' }), who)
	slices.Sort(all)
	return ballot("|" + strings.Join(all, "||") + "|")
}

func (b ballot) without(who string) ballot {
	return ballot(strings.ReplaceAll(string(b), "|"+who+"|", ""))
}

// cast is a decision, or a question what was decided.
type cast struct{ verdict, who string }

// said is an answer of Gantry's.
type said struct {
	counted bool
	unknown bool // it may have counted
	problem string
	ballot  ballot // of a question
}

// decisionModel is the sequential meaning of decisions: an approval counts once a
// person, and can be taken back by that person alone. A refusal for another reason
// than the ballot (the run has ended, the person isn't entitled) is always legal.
var decisionModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{ballot("")} },
	Step: func(state, input, output any) []any {
		b, in, out := state.(ballot), input.(cast), output.(said) //nolint:forcetypeassert // the only types of this model
		return step(b, in, out)
	},
}).ToModel()

// step returns the states that may follow, none if the answer is impossible.
func step(b ballot, in cast, out said) []any {
	switch {
	case in.verdict == "read":
		if b != out.ballot {
			return nil
		}
		return []any{b}
	case out.unknown:
		return compact(b, in.apply(b))
	case !out.counted:
		if out.problem == "already-decided" && in.verdict == "approve" && !b.has(in.who) ||
			out.problem == "nothing-to-revoke" && b.has(in.who) {
			return nil
		}
		return []any{b}
	case in.verdict == "approve" && b.has(in.who), in.verdict == "revoke" && !b.has(in.who):
		return nil
	}
	return []any{in.apply(b)}
}

func compact(a, b ballot) []any {
	if a == b {
		return []any{a}
	}
	return []any{a, b}
}

func (c cast) apply(b ballot) ballot {
	switch c.verdict {
	case "approve":
		return b.with(c.who)
	case "revoke":
		return b.without(c.who)
	}
	return b
}

// linearizable finds plans whose decisions have no order that explains every answer.
func linearizable(x *index) []Violation {
	var all []Violation
	for _, r := range x.order {
		for version, about := range x.ballots(r) {
			operations := about.operations(x)
			x.judged(r, r.life())
			if porcupine.CheckOperationsTimeout(decisionModel, operations, 5*time.Second) == porcupine.Illegal {
				all = append(all, violation(r.name(), fmt.Sprintf("no order of the decisions about version %d explains all answers", version), about.requests...))
			}
		}
	}
	return all
}

// plan is a plan of a run, with the decisions and questions about it.
type plan struct {
	version  int
	requests []rec
}

// ballots sorts the decisions and the views of a run by plan. A run with several
// plans and decisions that name none isn't judged.
func (x *index) ballots(r *run) map[int]*plan {
	plans := map[int]*plan{}
	for _, s := range r.states {
		if s.RunState.State == "UNCONFIRMED" {
			plans[s.RunState.Version] = &plan{version: s.RunState.Version}
		}
	}
	only := -1
	if len(plans) == 1 {
		only = slices.Collect(maps.Keys(plans))[0]
	}
	for _, q := range r.verdicts("approve", "revoke") {
		version := only
		if named := decision(q).StateVersion; named != nil {
			version = *named
		} else if counted, ok := x.countedFor(q); ok {
			version = counted // which a forged plan may be, that is never confirmed
		} else if refused(q) && x.decidedAboutForged(r, plans) {
			continue // the refusal doesn't say about which plan
		} else if only < 0 && len(plans) > 1 {
			return nil
		}
		if p := plans[version]; p != nil {
			p.requests = append(p.requests, q)
		}
	}
	maps.DeleteFunc(plans, func(_ int, p *plan) bool { return len(p.requests) == 0 })
	for _, v := range r.shown() {
		for _, p := range plans {
			p.requests = append(p.requests, v.asked)
		}
	}
	return plans
}

// decidedAboutForged reports whether a view of the run shows a decision about a plan that
// it never had.
func (x *index) decidedAboutForged(r *run, plans map[int]*plan) bool {
	return slices.ContainsFunc(r.shown(), func(v view) bool {
		return slices.ContainsFunc(v.Decisions, func(d decided) bool { return plans[d.StateVersion] == nil })
	})
}

// countedFor returns the version of the plan that a decision was counted for, by its
// answer.
func (x *index) countedFor(q rec) (version int, ok bool) {
	for _, d := range decode[shown](q.Request.Answer).Decisions {
		if d.Verdict == decision(q).Verdict && x.who(d.By) == x.who(q.Request.Who) {
			version, ok = d.StateVersion, true
		}
	}
	return version, ok
}

// operations are the decisions and questions as porcupine takes them. Requests under
// one key are one decision, which lasts from the first one to the first answer. A refusal
// leaves the key free: a repeat may count, such as one of a run that Gantry did not know yet.
func (p *plan) operations(x *index) []porcupine.Operation {
	var all []porcupine.Operation
	byKey := map[string]int{}
	for _, q := range p.requests {
		o := porcupine.Operation{Call: int64(q.Began), Return: int64(q.Ended)}
		if q.Request.Operation == "getRun" {
			o.Input, o.Output = cast{verdict: "read"}, said{ballot: p.shows(x, decode[shown](q.Request.Answer))}
			all = append(all, o)
			continue
		}
		o.Input = cast{decision(q).Verdict, x.who(q.Request.Who)}
		o.Output = said{counted: answered(q), unknown: !answered(q) && !refused(q), problem: problem(q)}
		if !answered(q) && !refused(q) {
			o.Return = math.MaxInt64
		}
		if k := q.Request.Who + q.Request.Key + decision(q).Verdict; q.Request.Key != "" {
			if i, was := byKey[k]; was {
				if was := all[i].Output.(said); was.settledBy(q) { //nolint:forcetypeassert // it was put there above
					all[i].Output, all[i].Return = o.Output, o.Return
				}
				continue
			}
			byKey[k] = len(all)
		}
		all = append(all, o)
	}
	for i := range all {
		all[i].ClientId = i
	}
	return all
}

// settledBy reports whether a repeat, or its answer, says what became of the requests
// before. The answer to a stranger doesn't. A repeat that got no answer may have counted.
func (was said) settledBy(repeat rec) bool {
	says := answered(repeat) || refused(repeat) && repeat.Request.Status != http.StatusUnauthorized
	return was.unknown && says || !was.counted && mayCount(repeat)
}

// shows returns the ballot that a view of the run shows for the plan.
func (p *plan) shows(x *index, v shown) ballot {
	var b ballot
	for _, d := range v.Decisions {
		if d.StateVersion != p.version {
			continue
		}
		switch {
		case d.Verdict == "approve" && !d.Revoked:
			b = b.with(x.who(d.By))
		case d.Verdict == "revoke":
			b = b.without(x.who(d.By))
		}
	}
	return b
}
