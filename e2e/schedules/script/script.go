package script

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// The steps that the world takes, without Gantry. Who acts in Spacelift then.
const (
	Push          = "push"         // of one stack
	PushAll       = "push-all"     // one commit of all stacks in Args["stacks"]
	Preview       = "preview"      // a push to another branch
	Trigger       = "trigger"      //
	Task          = "task"         //
	TestModule    = "test-module"  //
	DetectDrift   = "detect-drift" //
	Destroy       = "destroy"      //
	Promote       = "promote"      // the latest preview
	NativeRetry   = "native-retry"
	NativeConfirm = "native-confirm"
	NativeDiscard = "native-discard"
	NativeCancel  = "native-cancel"
	NativeStop    = "native-stop"
	NativeKill    = "native-kill"
	Replan        = "replan"
	ReviewApprove = "review-approve"
	ReviewReject  = "review-reject"
	Lock          = "lock"
	Unlock        = "unlock"
	Disable       = "disable"
	Enable        = "enable"
	BreakGlass    = "break-glass" // of the stack's space: Gantry's approval policy no longer attaches itself
	RestoreGlass  = "restore-glass"
	Labels        = "labels" // replace them by Args["labels"], which commas separate
)

// The steps that people take through Gantry.
const (
	Approve   = "approve"
	Reject    = "reject"
	Revoke    = "revoke"
	Stop      = "stop"
	Retry     = "retry"
	Freeze    = "freeze" // the stack
	Lift      = "lift"   // the schedule's own freezes
	Skip      = "skip"   // the stack in the open chain of the schedule
	StopChain = "stop-chain"
	Read      = "read"     // the run, its explanation and its timeline
	List      = "list"     // runs and stacks
	SignIn    = "sign-in"  // begin the session Args["session"]
	SignOut   = "sign-out" // of it; requests with Args["session"] are sent with a copy of its cookie
	Follow    = "follow"   // the event stream, with the session Args["session"]
	Ask       = "ask"      // for a run of the stack
	Forecast  = "forecast" // what follows the stack's next run that finishes
)

// What steps wait for.
const (
	Waiting = "waiting" // the stack's latest run waits for people in Spacelift
	Ended   = "ended"   // the stack's latest run has ended
	Failed  = "failed"  // it has failed
	Known   = "known"   // Gantry knows the stack's latest run
	Asked   = "asked"   // Gantry asks people about it
)

// New returns the script of a schedule.
func New(seed uint64, number int) history.Script {
	own := seed ^ uint64(number)*0x9e3779b97f4a7c15
	d := &drawer{Rand: rand.New(rand.NewPCG(own, 1)), number: number, script: &history.Script{Seed: own, Stacks: []history.ScriptStack{}, Steps: []history.ScriptStep{}}}
	story := draw(d, stories)
	d.script.Kind = story.kind
	story.tell(d)
	return *d.script
}

// Begin returns when, within a storm, a schedule begins.
func Begin(seed uint64, number int, storm time.Duration) time.Duration {
	r := rand.New(rand.NewPCG(seed^uint64(number)*0x9e3779b97f4a7c15, 2))
	return time.Duration(r.Int64N(int64(storm)*8/10 + 1))
}

// drawer makes the choices of one schedule.
type drawer struct {
	*rand.Rand
	number int
	script *history.Script
	keys   int
}

func (d *drawer) chance(percent int) bool { return d.IntN(100) < percent }

func one[T any](d *drawer, of []T) T { return of[d.IntN(len(of))] }

// weighted is a choice that is as likely as its weight among those of the others.
type weighted[T any] struct {
	weight int
	value  T
}

func pick[T any](d *drawer, all []weighted[T]) T {
	total := 0
	for _, w := range all {
		total += w.weight
	}
	n := d.IntN(total)
	for _, w := range all {
		if n -= w.weight; n < 0 {
			return w.value
		}
	}
	panic("weights don't add up")
}

// stack adds a stack to the schedule.
func (d *drawer) stack(shape ...func(*history.ScriptStack)) string {
	s := history.ScriptStack{ID: fmt.Sprintf("s%d-%c", d.number, 'a'+len(d.script.Stacks)), Labels: d.labels()}
	s.Autodeploy = d.chance(4)
	if d.chance(30) {
		s.Space = pick(d, []weighted[string]{{50, enforced}, {35, production}, {15, production + "/" + enforced}})
	}
	for _, f := range shape {
		f(&s)
	}
	if s.Approvals > 0 {
		s.Space = "" // Gantry relies on no second approval policy
	}
	if d.chance(4) {
		s.Labels = slices.DeleteFunc(s.Labels, func(l string) bool { return l == "gantry:managed" })
	}
	d.script.Stacks = append(d.script.Stacks, s)
	return s.ID
}

// after makes a stack follow others.
func after(parents ...string) func(*history.ScriptStack) {
	return func(s *history.ScriptStack) {
		for _, p := range parents {
			s.Labels = append(s.Labels, "gantry:after="+p)
		}
	}
}

// do adds a step.
func (d *drawer) do(step history.ScriptStep, args ...string) {
	for i := 0; i+1 < len(args); i += 2 {
		if step.Args == nil {
			step.Args = map[string]string{}
		}
		step.Args[args[i]] = args[i+1]
	}
	d.script.Steps = append(d.script.Steps, step)
}

func (d *drawer) pause() time.Duration { return time.Duration(d.IntN(1500)) * time.Millisecond }

// plan returns the arguments of a plan.
func (d *drawer) plan() []string {
	args := []string{"added", strconv.Itoa(d.IntN(4))}
	if d.chance(30) {
		args = append(args, "deleted", strconv.Itoa(1+d.IntN(2)))
		if d.chance(30) {
			args = append(args, "destroys", d.resource())
		}
	}
	if d.chance(30) {
		args = append(args, "changed", strconv.Itoa(1+d.IntN(9)))
	}
	switch {
	case d.chance(7):
		args = append(args, "fail", one(d, []string{"INITIALIZING", "PLANNING", "APPLYING"}), "note", one(d, failureNotes))
	case d.chance(5):
		args = append(args, "verdict", one(d, []string{"warn", "deny"}))
	}
	return args
}

// failureNotes show causes of each kind.
var failureNotes = []string{
	"Error: connection refused", "dial tcp: i/o timeout", "503 Service Unavailable", "no available workers", "ThrottlingException: slow down",
	"AccessDenied: not authorized", "Error: Unsupported argument", "something nobody has seen before",
}

// changes returns the arguments of a plan that succeeds and changes something.
func (d *drawer) changes() []string {
	args := []string{"added", strconv.Itoa(1 + d.IntN(3))}
	if d.chance(30) {
		args = append(args, "deleted", "1")
	}
	return args
}

// labels returns random labels: most can be followed.
func (d *drawer) labels() []string {
	labels := []string{"gantry:managed"}
	confirm := pick(d, []weighted[string]{{12, ""}, {37, "manual"}, {25, "auto"}, {26, "no-deletes"}})
	if confirm != "" {
		labels = append(labels, "gantry:confirm="+confirm)
	}
	if d.chance(25) {
		labels = append(labels, "gantry:profile="+one(d, profileNames))
	}
	if people := confirm == "manual" || confirm == "no-deletes"; people || d.chance(4) {
		if d.chance(35) {
			labels = append(labels, "gantry:approvals="+strconv.Itoa(1+d.IntN(3)))
		}
		if d.chance(30) {
			labels = append(labels, "gantry:approvers="+one(d, []string{"platform", "security"}))
		}
		if d.chance(10) {
			labels = append(labels, "gantry:approval-timeout="+one(d, []string{"1m", "90m", "24h", "1d12h"}))
		}
	}
	for _, extra := range []struct {
		percent int
		label   func() string
	}{
		{8, func() string { return "gantry:window=" + one(d, []string{"always", "always", "soon", "never"}) }},
		{30, func() string { return "gantry:retries=" + strconv.Itoa(d.IntN(4)) }},
		{40, func() string { return "gantry:notify=" + one(d, []string{"deploys", "#deploys", "on-call", "slack"}) }},
		{15, func() string { return one(d, []string{"team:infra", "team:blue", "depends-on-nothing", "Gantryish"}) }},
		{8, func() string { return one(d, unreadable) }},
	} {
		if d.chance(extra.percent) {
			labels = append(labels, extra.label())
		}
	}
	d.Shuffle(len(labels), func(i, j int) { labels[i], labels[j] = labels[j], labels[i] })
	return labels
}

// unreadable labels hold a run.
var unreadable = []string{
	"gantry:approval=2", "gantry:confirm=Auto", "Gantry:confirm=auto", "gantry:retries=11", "gantry:retries=-1", "gantry:retries=02", "gantry:approvals=0",
	"gantry:approvals=two", "gantry:profile=nope", "gantry:window=nope", "gantry:managed=yes", "gantry:after=", "gantry:after=a/b", "gantry:approval-timeout=5x",
	"gantry:approval-timeout=10s", "gantry:notify=nowhere", "gantry:", "gantry:confirm=manual ", "gantry: confirm=auto", "GANTRY:MANAGED",
}

// Readable returns a stack's labels with those removed that hold runs, and those that make
// people wait: what an operator would do who wants a run to end.
func Readable(stack string, labels []string) []string {
	kept := []string{"gantry:managed", "gantry:confirm=auto"}
	for _, l := range labels {
		if len(l) > len("gantry:after=") && l[:len("gantry:after=")] == "gantry:after=" && l != "gantry:after="+stack && !slices.Contains(unreadable, l) {
			kept = append(kept, l)
		}
	}
	return slices.Compact(kept)
}

func draw(d *drawer, all []story) story {
	choices := make([]weighted[story], len(all))
	for i, s := range all {
		choices[i] = weighted[story]{s.weight, s}
	}
	return pick(d, choices)
}

// Kinds returns the kinds of stories.
func Kinds() []string {
	kinds := make([]string, len(stories))
	for i, s := range stories {
		kinds[i] = s.kind
	}
	slices.SortFunc(kinds, cmp.Compare)
	return kinds
}
