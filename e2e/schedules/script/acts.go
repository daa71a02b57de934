package script

import (
	"slices"
	"strconv"
	"strings"
)

// acts adds acts of people about the latest run of a stack.
func (d *drawer) acts(stack string, n int) {
	for range n {
		when := step{After: d.pause(), Until: pick(d, []weighted[string]{{55, Asked}, {25, Waiting}, {10, Known}, {10, ""}})}
		d.act(stack, when)
		if d.chance(20) {
			d.act(stack, step{With: true})
		}
	}
}

// act adds one act of a person about the latest run of a stack.
func (d *drawer) act(stack string, s step) {
	s.Stack = stack
	s.Do = pick(d, []weighted[string]{
		{46, Approve}, {7, Reject}, {9, Revoke}, {6, Stop}, {7, NativeConfirm}, {4, NativeDiscard}, {5, Replan}, {6, Labels},
		{2, Lock}, {3, Freeze}, {3, Lift}, {7, Read}, {1, NativeCancel}, {1, NativeStop}, {1, NativeKill}, {2, Retry}, {2, ReviewApprove}, {1, ReviewReject},
	})
	var args []string
	switch s.Do {
	case Approve, Reject, Revoke:
		s.Who = d.approver(stack)
		if d.chance(35) {
			args = append(args, "pin", one(d, []string{"now", "now", "now", "old"}))
		}
		args = append(args, d.key()...)
	case Stop, Retry, Freeze, Lift:
		s.Who = d.operator()
		args = d.key()
	case Read:
		s.Who = one(d, []string{"fay", "ann", "eve", "gil", "hal", "iris", "ivo", "mal"})
	case Labels:
		s.Who = "jane"
		args = []string{"labels", strings.Join(d.labels(), ",")}
	default:
		s.Who = one(d, []string{"jane", "joe", "max"})
	}
	d.do(s, args...)
	if s.Do == Lock {
		d.do(step{After: d.pause(), Do: Unlock, Who: s.Who, Stack: stack})
	}
}

// key returns arguments that send a request under a key, perhaps several times.
func (d *drawer) key() []string {
	if d.chance(40) {
		return nil
	}
	d.keys++
	args := []string{"key", "k" + strconv.Itoa(d.number) + "-" + strconv.Itoa(d.keys)}
	if d.chance(40) {
		args = append(args, "repeats", strconv.Itoa(1+d.IntN(2)))
	}
	return args
}

func (d *drawer) operator() string {
	return pick(d, []weighted[string]{{40, "dan"}, {20, "eve"}, {20, "otto"}, {10, "hal"}, {5, "ivo"}, {2, "mal"}, {5, "ann"}})
}

// approver returns somebody who decides about a stack: mostly somebody who may.
func (d *drawer) approver(stack string) string {
	if d.chance(15) {
		return one(d, People).Name
	}
	group := ""
	for _, s := range d.script.Stacks {
		for _, l := range s.Labels {
			if g, ok := strings.CutPrefix(l, "gantry:approvers="); ok && s.ID == stack {
				group = g
			}
		}
	}
	for {
		p := one(d, People)
		if p.Role != "viewer" && p.Role != "operator" && p.Name != "jane" && p.Name != "jane-2" && (group == "" || slices.Contains(p.Groups, group)) {
			return p.Name
		}
	}
}
