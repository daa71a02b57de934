package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/temporalserver"
)

func newHealthCommand() *cobra.Command {
	var address, namespace string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say whether a server is ready for Gantry",
		Long: `Ends with 0 when the server answers and its namespace has Gantry's search
attributes, else with 1 and the reason. Any Temporal server can be asked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return checkHealth(ctx, address, namespace)
		},
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1:7233", "address of the server")
	cmd.Flags().StringVar(&namespace, "namespace", temporalserver.DefaultNamespace, "namespace that must be ready")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "longest wait for an answer")
	return cmd
}

// checkHealth asks for the search attributes, for which the frontend needs the
// namespace, and for an execution that does not exist: "not found" is what the
// history service answers once executions can start.
func checkHealth(ctx context.Context, address, namespace string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }()
	have, err := operatorservice.NewOperatorServiceClient(conn).ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("ask %s for namespace %s: %w", address, namespace, err)
	}
	for _, name := range managed.SearchAttributes() {
		if have.GetCustomAttributes()[name] != enums.INDEXED_VALUE_TYPE_KEYWORD {
			return fmt.Errorf("namespace %s at %s lacks search attribute %s of type Keyword", namespace, address, name)
		}
	}
	_, err = workflowservice.NewWorkflowServiceClient(conn).DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: namespace, Execution: &common.WorkflowExecution{WorkflowId: "temporal-server-health"},
	})
	if status.Code(err) != codes.NotFound {
		return fmt.Errorf("ask %s for an execution: %w", address, err)
	}
	return nil
}
