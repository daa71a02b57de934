package simulator

import (
	"fmt"

	"github.com/gantryhq/gantry/spacelift"
)

// logLines returns the log of a state of the run, each line with its newline;
// none before the run has entered the state.
func (r *run) logLines(state spacelift.RunState) []string {
	if !hasLogs(state) || !r.passed(state) {
		return nil
	}
	lines := r.Plan.Logs[state]
	if lines == nil {
		lines = r.madeUpLog(state)
	}
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		out = append(out, line+"\n")
	}
	return out
}

func (r *run) passed(state spacelift.RunState) bool {
	for _, t := range r.History {
		if t.State == state {
			return true
		}
	}
	return false
}

func (r *run) madeUpLog(state spacelift.RunState) []string {
	d := r.Plan.Counts()
	var lines []string
	switch state {
	case preparing, preparingApply:
		lines = []string{"Worker picked up the run", "Downloading source code... DONE"}
	case initializing:
		lines = []string{"Initializing the backend...", "Terraform has been successfully initialized!"}
	case planning:
		lines = []string{fmt.Sprintf("Plan: %d to add, %d to change, %d to destroy.", d.Added, d.Changed, d.Deleted)}
	case applying:
		lines = []string{fmt.Sprintf("Apply complete! Resources: %d added, %d changed, %d destroyed.", d.Added, d.Changed, d.Deleted)}
	case performing:
		lines = []string{"$ " + r.Command}
	case destroying:
		lines = []string{"Destroy complete!"}
	}
	if r.Plan.FailIn == state {
		lines = append(lines, "Error: "+r.Plan.FailNote)
	}
	return lines
}
