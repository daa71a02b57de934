package managed

import (
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// The prefixes of workflow ids. They are a contract with open executions.
const (
	RunPrefix   = "run/"
	chainPrefix = "chain/"
	retryPrefix = "retry/"
)

// ManageRunID returns the workflow id of the one execution that manages a run.
func ManageRunID(run spacelift.RunRef) string { return RunPrefix + run.String() }

// ParseRunID returns the run that the execution with a workflow id manages.
func ParseRunID(id string) (run spacelift.RunRef, err error) {
	parts := strings.Split(strings.TrimPrefix(id, RunPrefix), "/")
	if !strings.HasPrefix(id, RunPrefix) || len(parts) != 3 {
		return run, fmt.Errorf("execution %q is not that of a run", id)
	}
	run = spacelift.RunRef{Account: spacelift.Account(parts[0]), Stack: spacelift.StackID(parts[1]), Run: spacelift.RunID(parts[2])}
	return run, run.Validate()
}

// RetryRunID returns the workflow id of the retry of a run.
func RetryRunID(run spacelift.RunRef) string { return retryPrefix + run.String() }

// ChainID returns the workflow id of the chain that a run begins. A chain is named
// by that run alone: Spacelift's run ids are unique within an account.
func ChainID(root spacelift.RunRef) string {
	return chainPrefix + string(root.Account) + "/" + string(root.Run)
}

// ParseChainID returns the run that began the chain with a workflow id, without its
// stack.
func ParseChainID(id string) (root spacelift.RunRef, err error) {
	parts := strings.Split(strings.TrimPrefix(id, chainPrefix), "/")
	if !strings.HasPrefix(id, chainPrefix) || len(parts) != 2 {
		return root, fmt.Errorf("execution %q is not that of a chain", id)
	}
	return spacelift.RunRef{Account: spacelift.Account(parts[0]), Run: spacelift.RunID(parts[1])}, nil
}
