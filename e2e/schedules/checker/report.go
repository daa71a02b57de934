package checker

import (
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// Report is the judgement of a history.
type Report struct {
	Violations []Violation
	// Matrix counts, for each kind of mishap and each rule, how often the rule was
	// applied to something that the mishap befell.
	Matrix Matrix
}

// Matrix counts by kind of mishap and rule.
type Matrix map[string]map[string]Count

// Count is a cell of the matrix.
type Count struct {
	Judged int `json:"judged"`
	Broken int `json:"broken,omitempty"`
}

// Calm is the row of what no mishap befell.
const Calm = "none"

// Add adds another matrix.
func (m Matrix) Add(other Matrix) {
	for mishap, rules := range other {
		for rule, n := range rules {
			m.count(mishap, rule, n)
		}
	}
}

func (m Matrix) count(mishap, rule string, n Count) {
	if m[mishap] == nil {
		m[mishap] = map[string]Count{}
	}
	was := m[mishap][rule]
	m[mishap][rule] = Count{was.Judged + n.Judged, was.Broken + n.Broken}
}

// ordeal is a mishap with the time that it lasted, and the run that it befell; nil
// for all.
type ordeal struct {
	kind string
	span
	run *run
}

// aftermath is the time for which a mishap still counts after its end: until then,
// Gantry repeats and repairs.
const aftermath = 5 * time.Second

// Judge applies all rules to a history.
func Judge(records []history.Record) Report {
	x := newIndex(records)
	x.matrix = Matrix{}
	var all []Violation
	for _, r := range Rules {
		all = append(all, x.judge(r)...)
	}
	return Report{Violations: all, Matrix: x.matrix}
}

// judged counts that the present rule is applied to something that lasted for a
// span and concerns a run, or no run.
func (x *index) judged(r *run, s span) {
	x.tally(r, s, Count{Judged: 1})
}

func (x *index) tally(r *run, s span, n Count) {
	s.to += time.Millisecond
	befallen := map[string]bool{}
	for _, o := range x.ordeals {
		if (o.run == nil || o.run == r) && s.overlaps(span{o.from, o.to + aftermath}) {
			befallen[o.kind] = true
		}
	}
	if len(befallen) == 0 {
		befallen[Calm] = true
	}
	for kind := range befallen {
		x.matrix.count(kind, x.rule, n)
	}
}

// life is the span of a run.
func (r *run) life() span {
	if len(r.states) == 0 {
		return span{}
	}
	return span{r.states[0].Began, r.states[len(r.states)-1].Ended}
}

// mishapName names a kind of mishap: those of the API by their kind of fault.
func mishapName(m history.Mishap) string {
	if fault, _, _ := strings.Cut(m.Detail, " "); m.Kind == "api" && fault != "" {
		return "api-" + fault
	}
	return m.Kind
}

// suffer collects the mishaps of a history.
func (x *index) suffer() {
	open := map[string]int{}
	for _, r := range x.mishaps {
		m := r.Mishap
		id := m.Kind + " " + m.Target + " " + m.Detail
		if i, was := open[id]; was && !m.On {
			x.ordeals[i].to = r.Ended
			delete(open, id)
		} else if m.On {
			open[id] = len(x.ordeals)
			x.ordeals = append(x.ordeals, ordeal{kind: mishapName(*m), span: span{r.Began, x.ticked}})
		}
	}
	for _, r := range x.runs {
		for _, d := range r.delivered {
			if d.Delivery.Mishap != "" {
				x.ordeals = append(x.ordeals, ordeal{"webhook-" + d.Delivery.Mishap, span{d.Began, d.Ended}, r})
			}
		}
	}
}
