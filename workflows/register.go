package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
)

// Registry is a worker, a replayer or the SDK's test environment.
type Registry interface {
	RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions)
}

// Register registers every workflow, under the name it is started by.
func Register(r Registry) {
	r.RegisterWorkflowWithOptions(ManageRun, workflow.RegisterOptions{Name: managed.ManageRunType})
	r.RegisterWorkflowWithOptions(Reconcile, workflow.RegisterOptions{Name: reconcile.Type})
	r.RegisterWorkflowWithOptions(Freezes, workflow.RegisterOptions{Name: freeze.Type})
	r.RegisterWorkflowWithOptions(RetryRun, workflow.RegisterOptions{Name: managed.RetryRunType})
	r.RegisterWorkflowWithOptions(TriggerRun, workflow.RegisterOptions{Name: managed.TriggerRunType})
	r.RegisterWorkflowWithOptions(Chain, workflow.RegisterOptions{Name: chain.Type})
}
