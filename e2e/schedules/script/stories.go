package script

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// story is a kind of schedule.
type story struct {
	weight int
	kind   string
	tell   func(d *drawer)
}

var stories = []story{
	{20, "push", (*drawer).tellPush},
	{14, "contest", (*drawer).tellContest},
	{16, "chain", (*drawer).tellChain},
	{12, "monorepo", (*drawer).tellMonorepo},
	{5, "dependencies", (*drawer).tellDependencies},
	{10, "failure", (*drawer).tellFailure},
	{5, "preview", (*drawer).tellPreview},
	{3, "task", (*drawer).tellTask},
	{2, "module", (*drawer).tellModule},
	{4, "drift", (*drawer).tellDrift},
	{3, "destroy", (*drawer).tellDestroy},
	{5, "reviews", (*drawer).tellReviews},
	{8, "enforced", (*drawer).tellEnforced},
	{9, "glass", (*drawer).tellGlass},
	{7, "session", (*drawer).tellSession},
	{6, "floor", (*drawer).tellFloor},
	{5, "resources", (*drawer).tellResources},
	{6, "expressions", (*drawer).tellExpressions},
	{5, "asked", (*drawer).tellAsked},
	{4, "forecast", (*drawer).tellForecast},
	{6, "queue", (*drawer).tellQueue},
	{5, "brakes", (*drawer).tellBrakes},
	{5, "freeze", (*drawer).tellFreeze},
}

type step = history.ScriptStep

// A push to one stack, and what people make of its plan.
func (d *drawer) tellPush() {
	s := d.stack()
	d.do(step{Do: Push, Stack: s}, d.plan()...)
	d.acts(s, d.IntN(4))
}

// Several people who want different things at the same instant.
func (d *drawer) tellContest() {
	s := d.stack(func(s *history.ScriptStack) {
		s.Labels = []string{"gantry:managed", "gantry:confirm=" + one(d, []string{"manual", "no-deletes", "auto"})}
		if d.chance(50) && s.Labels[1] != "gantry:confirm=auto" {
			s.Labels = append(s.Labels, "gantry:approvals=2")
		}
		if d.chance(30) {
			s.Labels = append(s.Labels, "gantry:notify=on-call")
		}
	})
	d.do(step{Do: Push, Stack: s}, d.changes()...)
	for range 1 + d.IntN(2) {
		d.act(s, step{After: d.pause(), Until: one(d, []string{Asked, Asked, Waiting})})
		for range 1 + d.IntN(4) {
			d.act(s, step{With: true})
		}
	}
}

// A push to the first stack of a chain of random shape.
func (d *drawer) tellChain() {
	var all []string
	for range 2 + d.IntN(5) {
		var parents []string
		for i, parent := range slices.Backward(all) {
			if d.chance(60) || i == 0 && len(parents) == 0 {
				parents = append(parents, parent)
			}
			if len(parents) == 3 {
				break
			}
		}
		all = append(all, d.stack(d.chainLabels, after(parents...)))
	}
	if d.chance(5) { // a circle
		d.script.Stacks[1].Labels = append(d.script.Stacks[1].Labels, "gantry:after="+all[len(all)-1])
	}
	d.do(step{Do: Push, Stack: all[0]}, d.changes()...)
	if d.chance(25) {
		d.do(step{After: d.pause(), Do: Push, Stack: all[0]}, d.changes()...)
	}
	for range d.IntN(4) {
		s := one(d, all)
		switch {
		case d.chance(15):
			d.do(step{After: 2 * d.pause(), Do: Skip, Who: d.operator(), Stack: s})
		case d.chance(4):
			d.do(step{After: 2 * d.pause(), Do: StopChain, Who: d.operator(), Stack: all[0]})
		case d.chance(15):
			d.do(step{After: d.pause(), Do: Push, Stack: s}, d.plan()...)
		default:
			d.act(s, step{After: d.pause(), Until: Waiting})
		}
	}
}

// chainLabels makes most stacks of a chain confirm without people.
func (d *drawer) chainLabels(s *history.ScriptStack) {
	if d.chance(65) {
		s.Labels = []string{"gantry:managed", "gantry:confirm=auto"}
		if d.chance(30) {
			s.Labels = append(s.Labels, "gantry:retries=2")
		}
	}
	s.Autodeploy = false
}

// One commit of several stacks that follow each other.
func (d *drawer) tellMonorepo() {
	var all []string
	for i := range 2 + d.IntN(4) {
		var parents []string
		if i > 0 && d.chance(85) {
			parents = append(parents, all[d.IntN(i)])
		}
		all = append(all, d.stack(d.chainLabels, after(parents...)))
	}
	pushed := all
	if d.chance(30) {
		pushed = all[:1+d.IntN(len(all))]
	}
	d.do(step{Do: PushAll, Stack: all[0]}, append(d.changes(), "stacks", strings.Join(pushed, ","))...)
	if d.chance(25) {
		d.do(step{After: d.pause(), Do: PushAll, Stack: all[0]}, append(d.plan(), "stacks", strings.Join(all, ","))...)
	}
	for range d.IntN(3) {
		d.act(one(d, all), step{After: d.pause(), Until: Waiting})
	}
}

// Stacks that depend on each other in Spacelift itself.
func (d *drawer) tellDependencies() {
	a := d.stack(d.chainLabels)
	b := d.stack(d.chainLabels, func(s *history.ScriptStack) { s.DependsOn = []string{a} })
	c := d.stack(d.chainLabels, func(s *history.ScriptStack) { s.DependsOn = []string{b} })
	if d.chance(50) {
		d.script.Stacks[1].Labels = append(d.script.Stacks[1].Labels, "gantry:after="+a)
	}
	d.do(step{Do: Push, Stack: a}, d.plan()...)
	if d.chance(40) {
		d.do(step{After: d.pause(), Do: PushAll, Stack: a}, append(d.changes(), "stacks", a+","+c)...)
	}
	d.acts(one(d, []string{a, b, c}), d.IntN(3))
}

// A run that fails, and those who try it again.
func (d *drawer) tellFailure() {
	s := d.stack(func(s *history.ScriptStack) {
		if d.chance(70) {
			s.Labels = []string{"gantry:managed", "gantry:confirm=auto", "gantry:retries=" + strconv.Itoa(d.IntN(3)), "gantry:notify=deploys"}
			if d.chance(40) {
				s.Labels = append(s.Labels, "gantry:profile=quick")
			}
		}
	})
	follower := ""
	if d.chance(35) {
		follower = d.stack(d.chainLabels, after(s))
	}
	d.do(step{Do: Push, Stack: s}, append(d.changes(), "fail", one(d, []string{"INITIALIZING", "PLANNING", "APPLYING", "APPLYING"}), "note", one(d, failureNotes))...)
	switch {
	case d.chance(30):
		d.do(step{After: d.pause(), Until: Failed, Do: Retry, Who: d.operator(), Stack: s}, d.key()...)
		if d.chance(40) {
			d.do(step{With: true, Do: one(d, []string{Retry, NativeRetry}), Who: d.operator(), Stack: s})
		}
	case d.chance(25):
		d.do(step{After: d.pause(), Until: Failed, Do: NativeRetry, Who: "jdoe", Stack: s})
	case d.chance(25):
		d.do(step{After: d.pause(), Until: Failed, Do: Push, Stack: s}, d.changes()...)
	case follower != "" && d.chance(50):
		d.do(step{After: d.pause(), Until: Failed, Do: Push, Stack: follower}, d.changes()...)
	}
	d.acts(s, d.IntN(2))
}

// A preview, and perhaps its promotion.
func (d *drawer) tellPreview() {
	s := d.stack(func(s *history.ScriptStack) { s.Approvals = d.IntN(2) })
	args := d.plan()
	if d.chance(40) {
		args = append(d.changes(), "verdict", "warn")
	}
	d.do(step{Do: Preview, Stack: s}, args...)
	if d.chance(40) {
		d.do(step{After: d.pause(), Do: Preview, Stack: s}, d.plan()...)
	}
	d.acts(s, d.IntN(2))
	d.do(step{After: d.pause(), Until: Ended, Do: Promote, Who: "jane", Stack: s})
	d.acts(s, d.IntN(3))
}

func (d *drawer) tellTask() {
	s := d.stack()
	d.do(step{Do: Task, Who: "jane", Stack: s}, "command", "terraform state list")
	d.do(step{After: d.pause(), Do: Push, Stack: s}, d.plan()...)
	d.acts(s, d.IntN(3))
}

func (d *drawer) tellModule() {
	s := d.stack(func(s *history.ScriptStack) { s.Module, s.Autodeploy = true, false })
	d.do(step{Do: TestModule, Stack: s}, d.plan()...)
	d.do(step{After: d.pause(), Do: Read, Who: "fay", Stack: s})
}

// A drift check and its repair.
func (d *drawer) tellDrift() {
	s := d.stack(func(s *history.ScriptStack) { s.WorkerPool = true })
	d.do(step{Do: Push, Stack: s}, d.changes()...)
	d.acts(s, d.IntN(2))
	d.do(step{After: d.pause(), Until: Ended, Do: DetectDrift, Stack: s}, d.changes()...)
	d.acts(s, d.IntN(3))
}

func (d *drawer) tellDestroy() {
	s := d.stack()
	d.do(step{Do: Push, Stack: s}, d.changes()...)
	d.acts(s, d.IntN(2))
	d.do(step{After: d.pause(), Until: Ended, Do: Destroy, Who: "jane", Stack: s})
}

// An approval policy of Spacelift's own.
func (d *drawer) tellReviews() {
	s := d.stack(func(s *history.ScriptStack) { s.Approvals, s.Autodeploy = 1+d.IntN(2), d.chance(15) })
	d.do(step{Do: Push, Stack: s}, d.changes()...)
	for range 1 + d.IntN(3) {
		if d.chance(50) {
			d.do(step{After: d.pause(), Until: Waiting, Do: one(d, []string{ReviewApprove, ReviewApprove, ReviewReject}), Who: one(d, []string{"jane", "joe", "max"}), Stack: s})
		} else {
			d.act(s, step{After: d.pause(), Until: Waiting})
		}
	}
}

// People who want to confirm in Spacelift before Gantry has reviewed the plan.
func (d *drawer) tellEnforced() {
	s := d.stack(func(s *history.ScriptStack) { s.Space, s.Autodeploy = enforced, d.chance(35) })
	d.do(step{Do: one(d, []string{Push, Push, Push, Trigger}), Who: "joe", Stack: s}, d.changes()...)
	for range 1 + d.IntN(3) {
		d.do(step{After: d.pause(), Until: one(d, []string{Waiting, Waiting, Asked}), Do: one(d, []string{NativeConfirm, NativeConfirm, NativeConfirm, ReviewApprove, Replan}),
			Who: one(d, []string{"jane", "joe", "max"}), Stack: s})
		if d.chance(40) {
			d.act(s, step{With: true})
		}
	}
	d.acts(s, d.IntN(3))
	if d.chance(30) {
		d.do(step{After: d.pause(), Until: Ended, Do: Push, Stack: s}, d.plan()...)
		d.do(step{Until: Waiting, Do: NativeConfirm, Who: "max", Stack: s})
	}
}

// Plans that must be applied now: somebody takes Gantry's policy away and confirms in
// Spacelift, while others object, freeze or lock.
func (d *drawer) tellGlass() {
	s := d.stack(func(s *history.ScriptStack) {
		s.Labels = []string{"gantry:managed", "gantry:confirm=" + one(d, []string{"manual", "manual", "auto", "no-deletes"}), "gantry:notify=deploys"}
		if d.chance(50) && s.Labels[1] != "gantry:confirm=auto" {
			s.Labels = append(s.Labels, "gantry:approvals=2")
		}
		s.Space, s.Approvals, s.Autodeploy = fmt.Sprintf("s%d-%s", d.number, glass), 0, d.chance(15)
	})
	urgent := func(at step) {
		at.Do, at.Who, at.Stack = NativeConfirm, one(d, []string{"max", "joe", "root"}), s
		d.do(at)
	}
	frozen := d.chance(30)
	if frozen {
		d.do(step{Do: Freeze, Who: "eve", Stack: s}, d.key()...)
	}
	d.do(step{After: d.pause(), Do: Push, Stack: s}, d.changes()...)
	if d.chance(40) { // before the glass is broken, Spacelift refuses
		urgent(step{Until: Waiting})
	}
	d.do(step{After: d.pause(), Until: one(d, []string{Waiting, Waiting, Asked}), Do: BreakGlass, Who: "root", Stack: s})
	against := func(at step) {
		at.Do, at.Stack = one(d, []string{Reject, Reject, Stop, Freeze, Lock, Approve}), s
		switch at.Who = "eve"; at.Do {
		case Lock:
			at.Who = "max"
		case Approve:
			at.Who = d.approver(s)
		}
		d.do(at)
	}
	switch {
	case d.chance(25): // answered before
		against(step{After: d.pause()})
		urgent(step{})
	case d.chance(50): // at the same instant
		urgent(step{After: d.pause(), Until: Waiting})
		for range 1 + d.IntN(2) {
			against(step{With: true})
		}
	default:
		urgent(step{After: d.pause(), Until: Waiting})
		d.acts(s, d.IntN(2))
	}
	if d.chance(50) {
		d.do(step{After: d.pause(), Until: one(d, []string{"", Ended}), Do: RestoreGlass, Who: "root", Stack: s})
		d.do(step{After: d.pause(), Until: Ended, Do: Push, Stack: s}, d.changes()...)
		urgent(step{Until: Waiting})
	}
	if frozen {
		d.do(step{After: d.pause(), Do: Lift, Who: "eve", Stack: s})
	}
}

// A person decides in a browser, and signs out at the same instant or before. Somebody
// has a copy of the cookie.
func (d *drawer) tellSession() {
	s := d.stack(func(s *history.ScriptStack) {
		s.Labels = []string{"gantry:managed", "gantry:confirm=manual"}
		if d.chance(60) {
			s.Labels = append(s.Labels, "gantry:approvals=2")
		}
	})
	who := one(d, []string{"ann", "bob", "cara", "eve", "gil", Revocable, Revocable})
	mine := func(at step, do string) {
		at.Do, at.Who, at.Stack = do, who, s
		d.do(at, "session", "a")
	}
	decides := func() string { return one(d, []string{Approve, Approve, Approve, Reject, Revoke}) }
	mine(step{}, SignIn)
	if d.chance(30) {
		mine(step{}, Follow)
	}
	d.do(step{After: d.pause(), Do: Push, Stack: s}, d.changes()...)
	mine(step{After: d.pause(), Until: Asked}, one(d, []string{Approve, Approve, Read}))
	mine(step{After: d.pause()}, SignOut)
	for range d.IntN(3) { // at the same instant
		mine(step{With: true}, decides())
	}
	for range 1 + d.IntN(2) {
		mine(step{After: d.pause()}, one(d, []string{decides(), decides(), Read, Stop}))
	}
	d.do(step{Do: Read, Who: "fay", Stack: s})
	d.acts(s, d.IntN(3))
	mine(step{After: 2 * d.pause()}, decides())
}

// Labels that would loosen what a locked rule sets.
func (d *drawer) tellFloor() {
	s := d.stack(func(s *history.ScriptStack) {
		s.Space = one(d, []string{production, production, production + "/" + enforced})
		s.Labels = []string{"gantry:managed", "gantry:confirm=" + one(d, []string{"auto", "auto", "no-deletes", "manual"})}
		if extra := one(d, []string{"", "gantry:approvals=1", "gantry:approvals=3", "gantry:approvers=security", "gantry:retries=1"}); extra != "" && s.Labels[1] != "gantry:confirm=auto" {
			s.Labels = append(s.Labels, extra)
		}
	})
	d.do(step{Do: Push, Stack: s}, "added", strconv.Itoa(1+d.IntN(4)), "deleted", strconv.Itoa(d.IntN(2)))
	for range 1 + d.IntN(4) {
		d.act(s, step{After: d.pause(), Until: one(d, []string{Asked, Asked, Waiting})})
		if d.chance(30) {
			d.do(step{With: true, Do: Labels, Who: "jane", Stack: s}, "labels", "gantry:managed,gantry:confirm=auto")
		}
	}
}

// Plans that destroy resources for which an expression asks for more approvals.
func (d *drawer) tellResources() {
	s := d.stack(func(s *history.ScriptStack) {
		s.Labels = []string{"gantry:managed", "gantry:profile=databases"}
		if d.chance(40) {
			s.Labels = append(s.Labels, one(d, []string{"gantry:confirm=manual", "gantry:confirm=auto", "gantry:approvals=2", "gantry:approvers=security"}))
		}
	})
	d.do(step{Do: Push, Stack: s}, "added", "1", "deleted", strconv.Itoa(1+d.IntN(2)), "destroys", d.resource())
	d.acts(s, 2+d.IntN(4))
}

// Plans that an expression of the profile leaves to people, or holds.
func (d *drawer) tellExpressions() {
	s := d.stack(func(s *history.ScriptStack) {
		s.Labels = []string{"gantry:managed", "gantry:profile=guarded"}
		if d.chance(30) {
			s.Labels = append(s.Labels, one(d, []string{"gantry:confirm=no-deletes", "gantry:confirm=auto", "gantry:approvals=2", "gantry:notify=deploys"}))
		}
	})
	args := []string{"added", strconv.Itoa(d.IntN(5)), "changed", strconv.Itoa(d.IntN(3))}
	if d.chance(45) {
		args = append(args, "deleted", "1", "destroys", one(d, []string{"aws_kms_key", "aws_kms_key", "aws_iam_user"}))
	}
	d.do(step{Do: Push, Stack: s}, args...)
	d.acts(s, 2+d.IntN(3))
	if d.chance(30) {
		d.do(step{After: d.pause(), Do: Labels, Who: "jane", Stack: s}, "labels", "gantry:managed,gantry:profile="+one(d, profileNames))
	}
}

// Runs that people ask Gantry for, also twice under one key.
func (d *drawer) tellAsked() {
	s := d.stack(func(s *history.ScriptStack) {
		if d.chance(50) {
			s.Labels = []string{"gantry:managed", "gantry:confirm=" + one(d, []string{"auto", "manual"}), "team:blue"}
		}
	})
	for range 1 + d.IntN(3) {
		d.do(step{After: d.pause(), Do: Ask, Who: one(d, []string{"dan", "eve", "eve", "otto", "hal", "lea", "ann"}), Stack: s}, d.key()...)
		if d.chance(25) {
			on, off := Lock, Unlock
			if d.chance(30) {
				on, off = Disable, Enable
			}
			d.do(step{With: true, Do: on, Who: "max", Stack: s})
			d.do(step{After: d.pause(), Do: off, Who: "max", Stack: s})
		}
		d.acts(s, d.IntN(3))
	}
	d.do(step{After: d.pause(), Do: List, Who: one(d, []string{"lea", "gil", "ivo", "hal", "fay", "mal"}), Stack: s})
}

// A chain whose course somebody looks at before it begins.
func (d *drawer) tellForecast() {
	all := []string{d.stack(d.chainLabels)}
	for i := range 1 + d.IntN(3) {
		all = append(all, d.stack(d.chainLabels, after(all[d.IntN(i+1)])))
	}
	d.do(step{After: d.pause(), Do: Forecast, Who: "fay", Stack: all[0]})
	d.do(step{Do: Push, Stack: all[0]}, d.changes()...)
	d.acts(all[0], d.IntN(2))
	if d.chance(30) {
		d.do(step{After: d.pause(), Do: Labels, Who: "jane", Stack: one(d, all[1:])}, "labels", strings.Join(d.labels(), ","))
	}
	d.do(step{After: d.pause(), Until: Ended, Do: Forecast, Who: one(d, []string{"fay", "lea", "gil"}), Stack: all[0]})
}

// resource returns a type of resource that a plan destroys.
func (d *drawer) resource() string {
	return one(d, []string{"aws_db_instance", "aws_db_instance", "aws_kms_key", "aws_iam_user"})
}

// Several pushes to one stack, each behind the one before.
func (d *drawer) tellQueue() {
	s := d.stack()
	for range 2 + d.IntN(3) {
		d.do(step{After: d.pause(), Do: one(d, []string{Push, Push, Trigger}), Who: "joe", Stack: s}, d.plan()...)
	}
	d.acts(s, d.IntN(4))
}

// Locks and switched-off stacks, around a plan and a retry.
func (d *drawer) tellBrakes() {
	s := d.stack()
	on, off := Lock, Unlock
	if d.chance(30) {
		on, off = Disable, Enable
	}
	early := d.chance(50) && on == Lock
	if early {
		d.do(step{Do: on, Who: "max", Stack: s})
	}
	d.do(step{After: d.pause(), Do: Push, Stack: s}, d.plan()...)
	if !early {
		d.do(step{After: d.pause(), Until: one(d, []string{"", Waiting}), Do: on, Who: "max", Stack: s})
	}
	d.acts(s, d.IntN(3))
	d.do(step{After: d.pause(), Do: off, Who: "max", Stack: s})
	d.acts(s, d.IntN(2))
}

// A freeze of the schedule's stack.
func (d *drawer) tellFreeze() {
	s := d.stack()
	freeze := step{After: d.pause(), Do: Freeze, Who: d.operator(), Stack: s}
	if d.chance(50) {
		d.do(freeze, d.key()...)
		d.do(step{After: d.pause(), Do: Push, Stack: s}, d.changes()...)
	} else {
		d.do(step{Do: Push, Stack: s}, d.changes()...)
		freeze.Until = one(d, []string{"", Known, Waiting})
		d.do(freeze, d.key()...)
		if d.chance(50) {
			d.act(s, step{With: true})
		}
	}
	d.acts(s, 1+d.IntN(3))
	d.do(step{After: d.pause(), Do: Lift, Who: d.operator(), Stack: s})
	if d.chance(30) {
		d.act(s, step{With: true})
	}
}
