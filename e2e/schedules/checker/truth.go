package checker

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

type receipt struct {
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
}

// acceptedIsReflected finds runs of which Gantry accepted a notification and whose
// end it doesn't show after everything has settled.
func acceptedIsReflected(x *index) []Violation {
	var all []Violation
	for _, r := range x.order {
		i := slices.IndexFunc(r.delivered, func(d rec) bool {
			return !d.Delivery.Forged() && decode[receipt](d.Delivery.Answer).Outcome == "accepted"
		})
		if i < 0 || x.phases[history.Settled] == 0 || x.gone(r.stack, x.phases[history.Settled]) {
			continue
		}
		x.judged(r, r.life())
		v, asked := x.settled(r)
		answers := r.operations("getRun")
		switch {
		case asked && v.State != r.last().State && r.states[len(r.states)-1].Ended+x.tick() < v.asked.Began:
			all = append(all, violation(r.name(), fmt.Sprintf("Gantry accepted notifications of the run and shows it as %s when it is %s", v.State, r.last().State),
				r.delivered[i], r.states[len(r.states)-1], v.asked))
		case asked && x.unheard(r, v).N > 0:
			all = append(all, violation(r.name(), "Gantry accepted a notification and learned of the state from the API alone", x.unheard(r, v), v.asked))
		case !asked && len(answers) > 0 && answers[len(answers)-1].Request.Status == 404 && answers[len(answers)-1].Began > x.phases[history.Settled]:
			all = append(all, violation(r.name(), "Gantry accepted a notification of the run and doesn't know it", r.delivered[i], answers[len(answers)-1]))
		}
	}
	return all
}

// unheard returns an accepted notification of a state that only the API showed to
// Gantry, well after it was accepted and while nothing went wrong. What keeps decisions
// waiting, such as a workflow task in progress, keeps signals waiting too.
func (x *index) unheard(r *run, v view) rec {
	calm := x.phases[history.Calm] + aftermath
	for _, e := range v.Timeline {
		if e.Kind != "repair" || !strings.Contains(e.Summary, "no notification") {
			continue
		}
		for _, d := range r.delivered {
			if !d.Delivery.Forged() && d.Began > calm && decode[receipt](d.Delivery.Answer).Outcome == "accepted" &&
				e.At.After(x.wall(d.Ended).Add(x.signalTime(span{d.Began, d.Ended}))) && strings.Contains(e.Summary, fmt.Sprintf("%s (%d)", d.Delivery.State, d.Delivery.Version)) {
				return d
			}
		}
	}
	return rec{}
}

// signalTime returns how long an accepted notification took at most to reach its
// execution around s.
func (x *index) signalTime(s span) time.Duration {
	return max(x.slowlyDuring(s, aftermath), aftermath+x.answerTime(s, http.MethodGet, http.MethodPost))
}

// answersAreTrue finds answers with a state that the run never entered, and ones that
// say a run has ended that hasn't.
func answersAreTrue(x *index) []Violation { return x.claims(false) }

// answersAreCurrent finds old answers, and what was forged long ago, while nothing
// goes wrong.
func answersAreCurrent(x *index) []Violation { return append(x.claims(true), x.idleWaits()...) }

// idleWaits finds explanations that a run waits for the end of another one, long after
// that: an end signals whatever waits for it (docs/how-to/chains.md, "Plan for waits").
// Gantry notices the end within a tick, and has another one to pass it on through a chain.
// A signal may get lost while processes die, so only ends of the calm count.
func (x *index) idleWaits() []Violation {
	var all []Violation
	for _, r := range x.order {
		for _, q := range r.operations("explainRun") {
			w := decode[struct{ WaitingFor struct{ What, Reason string } }](q.Request.Answer).WaitingFor
			if !answered(q) || w.What != "chain" || !strings.Contains(w.Reason, "has not ended") || x.trouble(q) {
				continue
			}
			x.judged(r, span{q.Began, q.Ended})
			soon := 2 * x.tickDuring(span{q.Began, q.Ended})
			for _, o := range x.order {
				end := o.at(q.Began - soon)
				if strings.Contains(w.Reason, o.id) && end.N > 0 && ended(end.RunState.State) && end.Began > x.phases[history.Calm] {
					all = append(all, violation(r.name(), "the run still waits for the end of "+o.name(), end, q))
				}
			}
		}
	}
	return firstOf(all)
}

// claims finds answers that are untrue, or old.
func (x *index) claims(old bool) []Violation {
	var all []Violation
	for _, q := range x.requests {
		if !answered(q) {
			continue
		}
		for _, s := range showing(q) {
			r := x.runs[key(s.Stack, s.Run)]
			if r == nil || len(r.states) == 0 {
				continue
			}
			x.judged(r, span{q.Began, q.Ended})
			if why, late, evidence := x.untrue(r, q, s); why != "" && late == old {
				all = append(all, violation(r.name(), why, append(evidence, q)...))
			}
		}
	}
	return firstOf(all)
}

// showing returns the runs that an answer shows.
func showing(q rec) []shown {
	switch q.Request.Operation {
	case "getRun":
		return []shown{decode[shown](q.Request.Answer)}
	case "listRuns":
		return decode[struct {
			Runs []shown `json:"runs"`
		}](q.Request.Answer).Runs
	}
	return nil
}

// untrue returns what of a claim contradicts Spacelift, and whether it was so once, or
// was claimed.
func (x *index) untrue(r *run, q rec, s shown) (why string, old bool, evidence []rec) {
	entered := -1
	for i, e := range r.states {
		if e.RunState.State == s.State && e.Ended <= q.Ended && (q.Request.Operation == "listRuns" || e.RunState.Version == s.StateVersion) {
			entered = i
		}
	}
	now := r.at(q.Ended)
	switch {
	case s.State == "", x.gone(r.stack, q.Ended), s.State == "APPLYING" && q.Request.Operation == "listRuns" && r.confirmed(q.Ended):
		return "", false, nil
	case entered < 0:
		claimed, was := r.forged(s.State, q.Ended)
		if !was {
			return fmt.Sprintf("Gantry shows the run in %s (%d), which it never entered", s.State, s.StateVersion), false, []rec{now}
		}
		if s.Phase == "done" {
			return "Gantry believes a forged end", false, []rec{claimed, now}
		}
		if claimed.Ended+x.tick() < q.Began && !x.trouble(q) {
			return fmt.Sprintf("Gantry still shows the run in %s, which was forged", s.State), true, []rec{claimed, now}
		}
	case s.Phase == "done" && now.N > 0 && !ended(now.RunState.State):
		return "Gantry shows a run as done that continues", false, []rec{now}
	case r.states[entered].N < now.N && now.Ended+x.tick() < q.Began && !x.trouble(q):
		after := r.states[min(entered+1, len(r.states)-1)]
		if after.Ended+x.tick() < q.Began {
			return "Gantry still shows the run in " + s.State, true, []rec{r.states[entered], now}
		}
	}
	return "", false, nil
}

// gone reports whether a stack was deleted: then Spacelift knows its runs no more, and
// Gantry reads them for a while before it gives them up.
func (x *index) gone(stack string, at time.Duration) bool {
	return slices.ContainsFunc(x.stacks[stack], func(s rec) bool { return s.Stack.Deleted && s.Ended <= at })
}

// confirmed reports whether Spacelift accepted a confirmation of Gantry's: from then
// on, lists show the run as applying.
func (r *run) confirmed(before time.Duration) bool {
	return slices.ContainsFunc(r.acts, func(c rec) bool { return mutates(c, "runConfirm") && good(c) && c.Began < before })
}

// forged returns a forged notification that claims a state of the run.
func (r *run) forged(state string, before time.Duration) (rec, bool) {
	for _, d := range slices.Backward(r.delivered) {
		if d.Delivery.Forged() && d.Delivery.State == state && d.Began < before {
			return d, true
		}
	}
	return rec{}, false
}

// trouble reports whether anything went wrong in the tick before a request.
func (x *index) trouble(q rec) bool {
	return x.troubled(span{q.Began, q.Ended})
}

// troubled reports whether anything went wrong in the tick before a span, or in it.
func (x *index) troubled(s span) bool {
	calm, was := x.phases[history.Calm]
	s.from -= x.tickDuring(s)
	return !was || s.from < calm || slices.ContainsFunc(x.apiDown, s.overlaps) || slices.ContainsFunc(x.pauses, s.overlaps)
}

// messagesAreTrue finds messages about a state that the run had not entered, that
// aren't signed, and that come twice.
func messagesAreTrue(x *index) []Violation {
	var all []Violation
	for _, r := range x.order {
		type once struct{ channel, kind string }
		sent := map[once]rec{}
		for _, m := range r.messages {
			x.judged(r, span{m.Began, m.Ended})
			msg, now := m.Message, r.at(m.Ended)
			entered := slices.IndexFunc(r.states, func(s rec) bool { return s.RunState.State == msg.State && s.Ended <= m.Ended })
			switch {
			case now.N == 0:
				all = append(all, violation(r.name(), "a message is about a run that has not begun", m))
				continue
			case msg.Format == "webhook" && !msg.Signed && msg.Status == 200:
				all = append(all, violation(r.name(), "a message isn't signed", m))
			case msg.State != "" && entered < 0:
				all = append(all, violation(r.name(), "a message says that the run is "+msg.State+", which it never was", m, now))
			case msg.Type == "run.ended" && !ended(now.RunState.State):
				all = append(all, violation(r.name(), "a message says that a run has ended that continues", m, now))
			case msg.Type == "run.failed" && now.RunState.State != "FAILED":
				all = append(all, violation(r.name(), "a message says that a run has failed that hasn't", m, now))
			}
			k := once{msg.Channel, msg.Type}
			if msg.Status != 200 {
				continue
			}
			if before, was := sent[k]; was && msg.Type == "run.ended" && before.Message.ID != msg.ID {
				all = append(all, violation(r.name(), "two messages say that the run has ended", before, m))
			}
			sent[k] = m
		}
	}
	return all
}

// labelsAreExplained compares the labels that Gantry can't follow, as it shows
// them, with those that the documents say it can't.
func labelsAreExplained(x *index) []Violation {
	var all []Violation
	for _, r := range x.runs {
		for _, v := range r.shown() {
			if len(v.Policy) == 0 || v.Labels == nil || !v.Managed {
				continue
			}
			x.judged(r, span{v.asked.Began, v.asked.Ended})
			if says := x.misread(r, v); says != "" {
				all = append(all, violation(r.stack, says, v.asked))
			}
		}
	}
	return firstOf(all)
}

// misread returns how a view of a run contradicts the documents about its labels.
func (x *index) misread(r *run, v view) string {
	shows := slices.ContainsFunc(v.Policy, func(p policyValue) bool { return p.Problem != "" })
	since := r.life().from - x.tick() // the rules may be older than the labels, unless the run waits
	if v.State == "UNCONFIRMED" {
		since = v.asked.Began - x.tick()
	}
	says := ""
	for _, labels := range append(x.labelled(r.stack, span{since, v.asked.Ended}), v.Labels) {
		for _, c := range x.configs(span{r.life().from, v.asked.Ended}) {
			p := c.Resolve(r.stack, x.space(r.stack), labels)
			if len(p.Unclear) > 0 || shows == (len(p.Invalid) > 0) {
				return ""
			}
			says = fmt.Sprintf("of the labels %q the model can't follow %q; Gantry shows %+v", labels, p.Invalid, v.Policy)
		}
	}
	return says
}

// labelled returns all labels that a stack had in a span.
func (x *index) labelled(stack string, s span) [][]string {
	var all [][]string
	for _, r := range x.stackDuring(stack, s) {
		all = append(all, r.Stack.Labels)
	}
	return all
}

// frontDoor finds authentic notifications that were refused, and others that weren't.
func frontDoor(x *index) []Violation {
	var all []Violation
	for _, r := range x.runs {
		for _, d := range r.delivered {
			x.judged(r, span{d.Began, d.Ended})
			status, mishap := d.Delivery.Status, d.Delivery.Mishap
			switch {
			case mishap == "forged-secret" || mishap == "forged-account":
				if decode[receipt](d.Delivery.Answer).Outcome == "accepted" || mishap == "forged-secret" && status >= 200 && status < 300 {
					all = append(all, violation(r.name(), "Gantry accepted a notification that nobody of the account had signed", d))
				}
			case status >= 400 && status < 500 && !x.rotates(d):
				all = append(all, violation(r.name(), fmt.Sprintf("Gantry answered an authentic notification with %d", status), d))
			}
		}
	}
	return all
}

// rotates reports whether the webhook's secret was about to change.
func (x *index) rotates(d rec) bool {
	return slices.ContainsFunc(x.mishaps, func(m rec) bool {
		return strings.Contains(m.Mishap.Kind, "secret") && m.Began < d.Ended+5*time.Second && m.Ended > d.Began-5*time.Second
	})
}
