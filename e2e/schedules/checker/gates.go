package checker

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// freeze is a freeze that Gantry said is declared.
type freeze struct {
	declared rec
	lifted   []rec // requests that may have lifted it
	model.Freeze
}

type freezeBody struct {
	ID     string    `json:"id"`
	Stacks []string  `json:"stacks"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
}

// freezes returns the freezes that were answered.
func (x *index) freezes() []freeze {
	var all []freeze
	for _, q := range x.requests {
		if q.Request.Operation != "declareFreeze" || !answered(q) {
			continue
		}
		f, asked := decode[freezeBody](q.Request.Answer), decode[freezeBody](q.Request.Body)
		known := freeze{declared: q, Freeze: model.Freeze{Stacks: asked.Stacks, Begin: asked.From, End: asked.Until}}
		for _, l := range x.requests {
			if l.Request.Operation == "liftFreeze" && mayCount(l) && last(l.Request.Path) == f.ID {
				known.lifted = append(known.lifted, l)
			}
		}
		all = append(all, known)
	}
	return all
}

// last returns the last part of a path.
func last(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[i+1:]
		}
	}
	return path
}

// binds reports whether the freeze certainly held a stack for a whole span.
func (f freeze) binds(x *index, stack string, s span) bool {
	if f.declared.Ended >= s.from || slices.ContainsFunc(f.lifted, func(l rec) bool { return l.Began < s.to }) {
		return false
	}
	return f.Binds(stack, x.wall(s.from).Add(-x.slack(s))) && f.Binds(stack, x.wall(s.to).Add(x.slack(s))) ||
		f.Begin.IsZero() && f.Binds(stack, x.wall(s.to).Add(x.slack(s)))
}

// freezesBind finds confirmations during a freeze.
func freezesBind(x *index) []Violation {
	var all []Violation
	frozen := x.freezes()
	for _, a := range x.releases() {
		for _, f := range frozen {
			if f.binds(x, a.run.stack, a.span) {
				all = append(all, violation(a.run.name(), a.did()+" during a freeze of "+f.declared.Request.Who, f.declared, a.read, a.call))
			}
		}
	}
	return all
}

// windowsBind finds confirmations while a window was closed.
func windowsBind(x *index) []Violation {
	var all []Violation
	for _, a := range x.releases() {
		if a.blind {
			continue
		}
		possible := x.policies(a.run.stack, a.span)
		open := len(possible) == 0
		for _, e := range possible {
			for t := x.wall(a.span.from).Add(-x.slack(a.span)); !open && !t.After(x.wall(a.span.to).Add(x.slack(a.span))); t = t.Add(50 * time.Millisecond) {
				open = e.config.Open(e.policy, t)
			}
		}
		if !open {
			all = append(all, violation(a.run.name(), a.did()+" while a window was closed", append(x.setups, possible[0].settings, a.read, a.call)...))
		}
	}
	return all
}

// brakesBind finds acts on a stack that somebody else locked, disabled or deletes.
func brakesBind(x *index) []Violation {
	var all []Violation
	braked := func(stack string, s span, evidence ...rec) {
		why, settings := "", x.stackDuring(stack, s)
		for _, r := range settings {
			if why = model.Brake(*r.Stack, x.batch.Actor); why == "" {
				return
			}
		}
		if why != "" {
			all = append(all, violation(stack, "Gantry acted on the stack although "+why, append(evidence, settings[0])...))
		}
	}
	for _, a := range x.acts("runConfirm", "runRetry") {
		if !a.blind {
			braked(a.run.stack, a.span, a.read, a.call)
		}
	}
	for _, c := range x.calls {
		if mutates(c, "runTrigger") {
			if read := x.readStack(arg(c, "stack"), c.Began); read.N > 0 && !read.Call.Stale {
				x.judged(nil, span{read.Began, c.Began})
				braked(arg(c, "stack"), span{read.Began, c.Began}, read, c)
			}
		}
	}
	return all
}

// readStack returns the last whole answer before an instant that showed a stack.
func (x *index) readStack(stack string, before time.Duration) rec {
	var found rec
	for _, c := range x.calls {
		if c.Began >= before {
			break
		}
		if c.Call.Kind == "query" && good(c) && showsLabels(c, stack) {
			found = c
		}
	}
	return found
}
