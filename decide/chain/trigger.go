package chain

import (
	"fmt"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// WhyNotTriggered returns why a chain triggers no run of a stack as it is now; empty if
// nothing forbids it. It returns a brake of Spacelift's too. p is the policy of the stack.
func WhyNotTriggered(s spacelift.Stack, p policy.Policy) (why string, block *spacelift.Block) {
	switch {
	case !spacelift.Managed(s.Labels):
		return fmt.Sprintf("the stack %s no longer carries %s", s.ID, spacelift.LabelManaged), nil
	case len(p.Problems) > 0:
		first := p.Problems[0]
		return fmt.Sprintf("the label %s of the stack %s can't be followed: %s; %s", first.Label, s.ID, first.Problem, first.Remedy), nil
	}
	return Braked(s)
}

// Braked returns the brake of Spacelift's that keeps Gantry from triggering a run of a
// stack, with a sentence about it; empty if there is none. A lock of Gantry's own key
// must have been dropped.
func Braked(s spacelift.Stack) (why string, block *spacelift.Block) {
	if block = s.StartBlock(); block != nil {
		why = fmt.Sprintf("the stack %s is held: %s", s.ID, block.Reason)
	}
	return why, block
}
