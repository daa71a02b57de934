package checker

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/model"
)

type rec = history.Record

// index is a history in the ways in which rules look at it.
type index struct {
	all       []rec
	batch     history.Batch
	base      time.Time // wall time at which the history began
	runs      map[string]*run
	order     []*run // as they began
	stacks    map[string][]rec
	glass     map[string][]rec // of spaces
	setups    []rec
	calls     []rec         // of Gantry
	tickGap   time.Duration // see ticksApart
	requests  []rec
	phases    map[string]time.Duration
	mishaps   []rec
	audit     []rec // entries of audit logs
	auditLogs []rec
	machine   []rec            // how slow it was
	slowdown  float64          // on average
	events    map[string][]rec // of the stream, by reader and session
	starts    map[string][]rec
	pauses    []span // of Gantry's processes
	apiDown   []span // something is wrong with Spacelift's API
	ticked    time.Duration
	clocks    []skew // of processes that were wrong
	moving    bool   // things still ended when the time of the batch was over
	ordeals   []ordeal

	rule   string // that is applied now
	matrix Matrix
}

// span is a time between two instants of a history.
type span struct{ from, to time.Duration }

func (s span) overlaps(o span) bool { return s.from <= o.to && o.from <= s.to }

// run is a run in Spacelift and all that concerns it.
type run struct {
	stack, id string
	states    []rec
	reads     []rec // queries of Gantry's whose answer showed it
	acts      []rec // mutations of Gantry's about it
	requests  []rec // to Gantry's API
	delivered []rec
	messages  []rec
	execution []rec
	reviews   []rec
	retryOf   *run
}

func key(stack, id string) string { return stack + "/" + id }

func (r *run) name() string             { return key(r.stack, r.id) }
func (r *run) first() *history.RunState { return r.states[0].RunState }
func (r *run) last() *history.RunState  { return r.states[len(r.states)-1].RunState }

var terminal = []string{"FINISHED", "FAILED", "DISCARDED", "CANCELED", "STOPPED", "SKIPPED"}

func ended(state string) bool { return slices.Contains(terminal, state) }

// at returns the state in which the run was at an instant; a record without a
// number before it began.
func (r *run) at(t time.Duration) rec {
	var found rec
	for _, s := range r.states {
		if s.Ended > t {
			break
		}
		found = s
	}
	return found
}

// entered returns the first time after an instant at which the run entered a state.
func (r *run) entered(state string, after time.Duration) (rec, bool) {
	i := slices.IndexFunc(r.states, func(s rec) bool { return s.RunState.State == state && s.Ended >= after })
	if i < 0 {
		return rec{}, false
	}
	return r.states[i], true
}

func newIndex(records []rec) *index {
	x := &index{all: records, runs: map[string]*run{}, stacks: map[string][]rec{}, glass: map[string][]rec{}, events: map[string][]rec{}, starts: map[string][]rec{}, phases: map[string]time.Duration{}}
	for _, r := range records {
		if r.Batch != nil {
			x.batch = *r.Batch
			x.base = r.At.Add(-r.Ended)
		}
		if s := r.RunState; s != nil {
			known := x.run(s.Stack, s.Run)
			if known.states == nil {
				x.order = append(x.order, known)
			}
			known.states = append(known.states, r)
		}
	}
	for _, r := range records {
		x.sort(r)
	}
	x.slowdown, x.tickGap = slowdown(x.machine, span{0, math.MaxInt64}), x.ticksApart()
	x.spans()
	x.retried()
	x.suffer()
	return x
}

// run returns a run, which may have no states yet: then nobody but Gantry's
// callers, or a forger, knows it.
func (x *index) run(stack, id string) *run {
	k := key(stack, id)
	if x.runs[k] == nil {
		x.runs[k] = &run{stack: stack, id: id}
	}
	return x.runs[k]
}

// sort puts a record where rules look for it.
func (x *index) sort(r rec) {
	switch {
	case r.Setup != nil:
		x.setups = append(x.setups, r)
	case r.Phase != nil:
		x.phases[r.Phase.Name] = r.Ended
		x.moving = x.moving || r.Phase.Moving
	case r.Stack != nil:
		x.stacks[r.Stack.Stack] = append(x.stacks[r.Stack.Stack], r)
	case r.Glass != nil:
		x.glass[r.Glass.Space] = append(x.glass[r.Glass.Space], r)
	case r.Mishap != nil:
		x.mishaps = append(x.mishaps, r)
		x.apart(r)
	case r.Call != nil && r.Call.Actor == x.batch.Actor:
		x.call(r)
	case r.Process != nil && r.Process.Event == history.Started:
		x.starts[r.Process.Name] = append(x.starts[r.Process.Name], r)
	case r.Event != nil:
		reader := r.Event.Reader + " " + r.Event.Session
		x.events[reader] = append(x.events[reader], r)
	case r.Machine != nil:
		x.machine = append(x.machine, r)
	case r.Audit != nil:
		x.audit = append(x.audit, r)
	case r.AuditLog != nil:
		x.auditLogs = append(x.auditLogs, r)
	case r.Request != nil:
		x.requests = append(x.requests, r)
		if r.Request.Run != "" && r.Request.Stack != "" {
			known := x.run(r.Request.Stack, r.Request.Run)
			known.requests = append(known.requests, r)
		}
	case r.Delivery != nil && r.Delivery.Run != "":
		known := x.run(r.Delivery.Stack, r.Delivery.Run)
		known.delivered = append(known.delivered, r)
	case r.Message != nil && r.Message.Run != "":
		known := x.run(r.Message.Stack, r.Message.Run)
		known.messages = append(known.messages, r)
	case r.Review != nil:
		known := x.run(r.Review.Stack, r.Review.Run)
		known.reviews = append(known.reviews, r)
	case r.Execution != nil && r.Execution.Run != "":
		known := x.run(r.Execution.Stack, r.Execution.Run)
		known.execution = append(known.execution, r)
	}
}

// call sorts a call of Gantry's.
func (x *index) call(r rec) {
	x.calls = append(x.calls, r)
	if r.Call.Kind == "mutation" {
		if stack, id := arg(r, "stack"), arg(r, "run"); id != "" {
			known := x.run(stack, id)
			known.acts = append(known.acts, r)
		}
		return
	}
	for _, seen := range r.Call.Runs {
		stack := seen.Stack
		if stack == "" {
			stack = x.stackOf(seen.Run, r)
		}
		known := x.run(stack, seen.Run)
		known.reads = append(known.reads, r)
	}
}

// stackOf finds the stack of a run that an answer names without one.
func (x *index) stackOf(id string, r rec) string {
	for _, known := range x.order {
		if known.id == id {
			return known.stack
		}
	}
	return arg(r, "id")
}

func arg(r rec, name string) string {
	text, _ := r.Call.Arguments[name].(string)
	return text
}

// spans finds when processes were paused and Spacelift's API was in trouble.
func (x *index) spans() {
	paused := map[string]time.Duration{}
	down := map[string]time.Duration{}
	for _, r := range x.all {
		if p := r.Process; p != nil {
			began, was := paused[p.Name]
			switch {
			case p.Event == history.Paused && !was:
				paused[p.Name] = r.Began
			case was && p.Event != history.Paused:
				x.pauses = append(x.pauses, span{began, r.Ended})
				delete(paused, p.Name)
			}
		}
		if m := r.Mishap; m != nil && (strings.HasPrefix(m.Kind, "api") || m.Kind == "tokens-over") {
			id := m.Kind + m.Target + m.Detail
			if m.On {
				down[id] = r.Began
			} else if began, was := down[id]; was {
				x.apiDown = append(x.apiDown, span{began, r.Ended})
				delete(down, id)
			}
		}
	}
	if len(x.all) > 0 {
		x.ticked = x.all[len(x.all)-1].Ended
	}
	for _, began := range paused {
		x.pauses = append(x.pauses, span{began, x.ticked})
	}
	for _, began := range down {
		x.apiDown = append(x.apiDown, span{began, x.ticked})
	}
}

// retried finds the run that each retry is about: the answer of the mutation names
// the new run; where it was lost, the new run began during the call.
func (x *index) retried() {
	for _, c := range x.calls {
		if !mutates(c, "runRetry") || !c.Call.Executed {
			continue
		}
		of := x.run(arg(c, "stack"), arg(c, "run"))
		for _, r := range x.order {
			if began := r.states[0]; r.stack == of.stack && r.first().Retried && r != of && r.retryOf == nil &&
				r.first().Trigger == x.batch.Actor && began.Ended >= c.Began && began.Ended <= c.Ended {
				r.retryOf = of
			}
		}
	}
}

func mutates(c rec, field string) bool {
	return c.Call.Kind == "mutation" && slices.Contains(c.Call.Fields, field)
}

// took reports whether the call was carried out without an error.
func took(c rec) bool { return c.Call.Executed && len(c.Call.Errors) == 0 }

// good reports whether Gantry got a whole answer.
func good(c rec) bool { return c.Call.Status == 200 && len(c.Call.Errors) == 0 }

// configs returns the configurations that may be in effect in a span.
func (x *index) configs(s span) []model.Config {
	var all []model.Config
	for i, r := range x.setups {
		until := x.ticked
		if i+1 < len(x.setups) {
			until = x.setups[i+1].Ended
		}
		if r.Began <= s.to && until >= s.from {
			all = append(all, model.Config(*r.Setup))
		}
	}
	return all
}

// stackDuring returns the settings that a stack had at the beginning of a span and
// each that came within it.
func (x *index) stackDuring(stack string, s span) []rec {
	var all []rec
	for _, r := range x.stacks[stack] {
		switch {
		case r.Ended <= s.from:
			all = []rec{r}
		case r.Ended <= s.to:
			all = append(all, r)
		}
	}
	return all
}

// policies are all policies that may be in effect for a stack in a span, each with
// its configuration. There is none if one of them is unclear: then nothing that
// depends on it is judged.
func (x *index) policies(stack string, s span) []effect {
	var all []effect
	for _, settings := range x.stackDuring(stack, s) {
		for _, config := range x.configs(s) {
			p := config.Resolve(stack, settings.Stack.Space, settings.Stack.Labels)
			if len(p.Unclear) > 0 {
				return nil
			}
			all = append(all, effect{p, config, settings})
		}
	}
	return all
}

// space returns the space of a stack, which never changes.
func (x *index) space(stack string) string {
	if all := x.stacks[stack]; len(all) > 0 {
		return all[0].Stack.Space
	}
	return ""
}

type effect struct {
	policy   model.Policy
	config   model.Config
	settings rec
}

// wall converts an instant of the history to wall time.
func (x *index) wall(t time.Duration) time.Time { return x.base.Add(t) }

// skew is a time in which the clock of a process was ahead or behind.
type skew struct {
	span
	target string
	by     time.Duration
}

// apart takes the beginning or the end of a mishap with a clock.
func (x *index) apart(r rec) {
	m := r.Mishap
	switch {
	case m.Ahead == 0:
	case m.On:
		x.clocks = append(x.clocks, skew{span{r.Began, math.MaxInt64}, m.Target, m.Ahead.Abs()})
	default:
		for i := range x.clocks {
			if c := &x.clocks[i]; c.target == m.Target && c.to == math.MaxInt64 {
				c.to = r.Ended
			}
		}
	}
}

// slack returns the time by which clocks of processes may differ from the driver's in a
// span.
func (x *index) slack(s span) time.Duration {
	most := 250 * time.Millisecond
	for _, c := range x.clocks {
		if c.overlaps(s) {
			most = max(most, c.by+time.Second)
		}
	}
	return most
}

// tick is the time within which Gantry notices what no notification said. A tick of
// Reconcile that has much to repair takes longer than its interval.
func (x *index) tick() time.Duration {
	return max(x.slowly(x.idleTick()), twoTicks(x.tickGap))
}

// idleTick is tick on a machine that has nothing else to do.
func (x *index) idleTick() time.Duration { return twoTicks(x.batch.Reconcile) }

// twoTicks is the time for two ticks, and for what they repair.
func twoTicks(apart time.Duration) time.Duration { return 2*apart + 5*time.Second }

// tickDuring is tick at some time of the batch.
func (x *index) tickDuring(s span) time.Duration {
	return max(x.tick(), x.slowlyDuring(s, x.idleTick()))
}

// mostApart limits the allowance for long ticks.
const mostApart = time.Minute

// ticksApart returns the longest time between two of Reconcile's readings of all runs in
// progress, while nothing goes wrong.
func (x *index) ticksApart() (longest time.Duration) {
	last, was := x.phases[history.Calm]
	for _, c := range x.calls {
		if was && c.Call.Operation == "SearchRuns" && c.Began > last {
			longest, last = max(longest, c.Began-last), c.Began
		}
	}
	return min(longest, mostApart)
}

// answerTime returns how long Gantry took at most to answer requests of some methods around
// s: as long as Temporal and the machine took.
func (x *index) answerTime(s span, methods ...string) (longest time.Duration) {
	around := span{s.from - streamedWithin, s.to + streamedWithin}
	for _, q := range x.requests {
		if slices.Contains(methods, q.Request.Method) && around.overlaps(span{q.Began, q.Ended}) {
			longest = max(longest, q.Ended-q.Began)
		}
	}
	return longest
}

// slowly returns the time that takes at most d on an idle machine, on the machine of
// the batch.
func (x *index) slowly(d time.Duration) time.Duration { return stretched(d, x.slowdown) }

// slowlyDuring is slowly for something that happened during s.
func (x *index) slowlyDuring(s span, d time.Duration) time.Duration {
	return stretched(d, max(x.slowdown, slowdown(x.machine, span{s.from - aftermath, s.to + aftermath})))
}

// stretched returns how long something takes on a slow machine. Most of the time is
// waiting; processorShare is the part of it that needs a processor.
func stretched(d time.Duration, slowdown float64) time.Duration {
	return d + time.Duration(float64(d)*processorShare*(slowdown-1))
}

const processorShare = 1.0 / 15

// slowdown returns how slow the machine was on average during s: 1 if it was idle.
func slowdown(measured []rec, s span) float64 {
	sum, n := 0.0, 0.0
	for _, m := range measured {
		if s.overlaps(span{m.Began, m.Ended}) {
			sum, n = sum+m.Machine.Slowdown, n+1
		}
	}
	return max(1, min(sum/max(1, n), mostSlowdown))
}

// mostSlowdown limits the allowance for slow machines.
const mostSlowdown = 100

// decode reads JSON that a history quotes; whatever isn't there stays zero.
func decode[T any](raw json.RawMessage) (v T) {
	_ = json.Unmarshal(raw, &v)
	return v
}
