package schedules

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// world are the steps that are taken in Spacelift. They return the run that they
// made, if any; run is the stack's latest.
var world = map[string]func(b *Batch, s history.ScriptStep, run rig.Run) (spacelift.RunID, error){
	script.Push: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return b.Spacelift.Push(stackOf(s), commitOf(s), planOf(s))
	},
	script.PushAll: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		var stacks []spacelift.StackID
		for id := range strings.SplitSeq(s.Args["stacks"], ",") {
			stacks = append(stacks, spacelift.StackID(id))
		}
		made, err := b.Spacelift.PushAll(commitOf(s), planOf(s), stacks...)
		if err != nil || len(made) == 0 {
			return "", err
		}
		return made[0], nil
	},
	script.Preview: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		c := commitOf(s)
		c.Branch = "topic"
		return b.Spacelift.Push(stackOf(s), c, planOf(s))
	},
	script.Trigger: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return b.Spacelift.Trigger(s.Who, simulator.Trigger{Stack: stackOf(s)})
	},
	script.Task: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return b.Spacelift.CreateTask(s.Who, stackOf(s), s.Args["command"], false)
	},
	script.TestModule: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return b.Spacelift.TestModule(stackOf(s), commitOf(s), planOf(s))
	},
	script.DetectDrift: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return b.Spacelift.DetectDrift(stackOf(s), planOf(s))
	},
	script.Destroy: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return b.Spacelift.RemoveStack(s.Who, stackOf(s), true)
	},
	script.Promote: func(b *Batch, s history.ScriptStep, run rig.Run) (spacelift.RunID, error) {
		return b.Spacelift.Promote(s.Who, stackOf(s), spacelift.RunID(run.ID))
	},
	script.NativeRetry: func(b *Batch, s history.ScriptStep, run rig.Run) (spacelift.RunID, error) {
		return b.Spacelift.Retry(s.Who, stackOf(s), spacelift.RunID(run.ID))
	},
	script.NativeConfirm: onRun((*simulator.Simulator).Confirm),
	script.NativeDiscard: onRun((*simulator.Simulator).Discard),
	script.NativeCancel:  onRun((*simulator.Simulator).Cancel),
	script.NativeStop:    onRun((*simulator.Simulator).Stop),
	script.NativeKill:    onRun((*simulator.Simulator).Kill),
	script.Replan: func(b *Batch, s history.ScriptStep, run rig.Run) (spacelift.RunID, error) {
		return "", b.Spacelift.Replan(s.Who, stackOf(s), spacelift.RunID(run.ID))
	},
	script.ReviewApprove: review("APPROVE"),
	script.ReviewReject:  review("REJECT"),
	script.Lock: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return "", b.Spacelift.Lock(s.Who, stackOf(s), "schedules: at work")
	},
	script.Unlock: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return "", b.Spacelift.Unlock(s.Who, stackOf(s))
	},
	script.Disable: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return "", b.Spacelift.Disable(stackOf(s))
	},
	script.Enable: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return "", b.Spacelift.Enable(stackOf(s))
	},
	script.BreakGlass:   glass(false),
	script.RestoreGlass: glass(true),
	script.Labels: func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		return "", b.Spacelift.SetLabels(stackOf(s), strings.Split(s.Args["labels"], ",")...)
	},
}

func onRun(verb func(s *simulator.Simulator, by string, stack spacelift.StackID, run spacelift.RunID, note string) error) func(*Batch, history.ScriptStep, rig.Run) (spacelift.RunID, error) {
	return func(b *Batch, s history.ScriptStep, run rig.Run) (spacelift.RunID, error) {
		return "", verb(b.Spacelift.Simulator, s.Who, stackOf(s), spacelift.RunID(run.ID), "schedules: "+s.Do)
	}
}

func review(decision string) func(*Batch, history.ScriptStep, rig.Run) (spacelift.RunID, error) {
	return func(b *Batch, s history.ScriptStep, run rig.Run) (spacelift.RunID, error) {
		return "", b.Spacelift.Review(s.Who, stackOf(s), spacelift.RunID(run.ID), decision, "schedules")
	}
}

func glass(whole bool) func(*Batch, history.ScriptStep, rig.Run) (spacelift.RunID, error) {
	return func(b *Batch, s history.ScriptStep, _ rig.Run) (spacelift.RunID, error) {
		st, _ := b.Spacelift.StackNow(s.Stack)
		return "", b.Spacelift.SetGlass(s.Who, st.Space, whole)
	}
}

func stackOf(s history.ScriptStep) spacelift.StackID { return spacelift.StackID(s.Stack) }

// commitOf returns a new commit. Its author is jdoe unless the step names one.
func commitOf(s history.ScriptStep) simulator.Commit {
	return simulator.Commit{AuthorLogin: cmp.Or(s.Args["author"], "jdoe")}
}

func planOf(s history.ScriptStep) simulator.Plan {
	number := func(name string) int {
		n, err := strconv.Atoi(s.Args[name])
		if err != nil {
			return 0 // it isn't there
		}
		return n
	}
	delta := spacelift.Delta{Added: number("added"), Changed: number("changed"), Deleted: number("deleted")}
	return simulator.Plan{
		Delta: delta, Changes: resourcesOf(delta, cmp.Or(s.Args["destroys"], "aws_iam_user")),
		Verdict: simulator.Verdict(s.Args["verdict"]), FailIn: spacelift.RunState(s.Args["fail"]), FailNote: s.Args["note"],
	}
}

// resourcesOf returns the resources of a plan that deletes those of a type.
func resourcesOf(d spacelift.Delta, destroyed string) []simulator.Change {
	var all []simulator.Change
	add := func(n int, action, resource string) {
		for i := range n {
			name := action + strconv.Itoa(i)
			all = append(all, simulator.Change{Address: resource + "." + name, Type: resource, Name: name, Action: action})
		}
	}
	add(d.Added, "added", "aws_s3_bucket")
	add(d.Changed, "changed", "aws_s3_bucket")
	add(d.Deleted, "deleted", destroyed)
	return all
}
