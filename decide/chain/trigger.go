package chain

import (
	"fmt"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// WhyNotTriggered returns why Gantry triggers no run of a stack as it is now, by the checks
// of ToFollow or ToTrigger; empty if nothing forbids it. It returns a brake of Spacelift's
// too. p is the policy of the stack. A lock of Gantry's own key must have been dropped.
func WhyNotTriggered(act managed.Act, s spacelift.Stack, p policy.Policy) (why string, block *spacelift.Block) {
	stack := managed.Standing{Run: spacelift.RunRef{Account: s.Account, Stack: s.ID}, Labels: s.Labels, Brakes: s.Brakes, Rules: managed.Rules{Policy: p}}
	switch no := stack.Forbids(act); {
	case no == nil:
		return "", nil
	case no.Block != nil:
		return fmt.Sprintf("the stack %s is held: %s", s.ID, no.Reason), no.Block
	default:
		return no.Reason, nil
	}
}
