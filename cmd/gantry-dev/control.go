package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// simulatorURLVariable names the simulator that push and label act on.
const simulatorURLVariable = "SIMULATOR_URL"

// controlTimeout bounds one request to the control API.
const controlTimeout = 10 * time.Second

// newPushCommand returns the command that pushes to a simulated repository.
func newPushCommand() *cobra.Command {
	var commit simulator.Commit
	var delta spacelift.Delta
	cmd := &cobra.Command{
		Use:   "push STACK",
		Short: "Push a change to a stack of the simulated Spacelift",
		Long: `Pushes a commit to the repository of a simulated stack and prints the name of the
run that Spacelift creates, as the commands of gantry take it. Without --add,
--change, --delete and --resource, the plan is the one that the stack is configured
with.`,
		Example: `  gantry-dev push network-prod --add 2
  gantry-dev push network-prod --resource replace=aws_db_instance.main
  gantry runs watch "$(gantry-dev push billing-prod --author alice --delete 1)"`,
		Args: cobra.ExactArgs(1),
	}
	address := addSimulatorFlag(cmd)
	f := cmd.Flags()
	f.IntVar(&delta.Added, "add", 0, "resources that the plan adds")
	f.IntVar(&delta.Changed, "change", 0, "resources that the plan changes")
	f.IntVar(&delta.Deleted, "delete", 0, "resources that the plan deletes")
	resources := f.StringArray("resource", nil, "resource that the plan changes, as add, change, delete, replace, import or forget =ADDRESS; repeat it for more")
	f.StringVar(&commit.AuthorLogin, "author", "", "login of the commit's author")
	f.StringVar(&commit.Message, "message", "", "message of the commit")
	for _, count := range []string{"add", "change", "delete"} {
		cmd.MarkFlagsMutuallyExclusive("resource", count)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		push := struct {
			Commit simulator.Commit `json:"commit"`
			Plan   *simulator.Plan  `json:"plan,omitempty"`
		}{Commit: commit}
		if min(delta.Added, delta.Changed, delta.Deleted) < 0 {
			return errors.New("--add, --change and --delete: write numbers of at least 0")
		}
		for _, flag := range []string{"add", "change", "delete"} {
			if f.Changed(flag) {
				push.Plan = &simulator.Plan{Delta: delta}
			}
		}
		if len(*resources) > 0 {
			changes, err := scripted(*resources)
			if err != nil {
				return err
			}
			push.Plan = &simulator.Plan{Changes: changes}
		}
		var made struct {
			Ref spacelift.RunRef `json:"ref"`
		}
		if err := control(cmd.Context(), *address, http.MethodPost, "/stacks/"+url.PathEscape(args[0])+"/pushes", push, &made); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s/%s/%s\n", made.Ref.Account, made.Ref.Stack, made.Ref.Run)
		return nil
	}
	return cmd
}

// actions are the simulator's words for the changes that a push can script.
var actions = map[string]string{
	"add": "added", "change": "changed", "delete": "deleted", "replace": "destroy-Before-create-replaced", "import": "import", "forget": "forget",
}

// scripted reads resources such as delete=aws_db_instance.main.
func scripted(resources []string) ([]simulator.Change, error) {
	var changes []simulator.Change
	for _, r := range resources {
		change, address, _ := strings.Cut(r, "=")
		if actions[change] == "" || address == "" {
			return nil, fmt.Errorf("--resource %s: write add, change, delete, replace, import or forget, and =ADDRESS", r)
		}
		changes = append(changes, simulator.Change{Address: address, Action: actions[change]})
	}
	return changes, nil
}

// newLabelCommand returns the command that replaces the labels of a stack.
func newLabelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "label STACK [LABEL]...",
		Short:   "Replace the labels of a stack of the simulated Spacelift",
		Example: `  gantry-dev label sandbox gantry:managed gantry:confirm=auto`,
		Args:    cobra.MinimumNArgs(1),
	}
	address := addSimulatorFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		labels := map[string][]string{"labels": args[1:]}
		return control(cmd.Context(), *address, http.MethodPut, "/stacks/"+url.PathEscape(args[0])+"/labels", labels, nil)
	}
	return cmd
}

func addSimulatorFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("simulator", cmp.Or(os.Getenv(simulatorURLVariable), "http://127.0.0.1:8090"),
		"address of the simulated Spacelift ("+simulatorURLVariable+")")
}

// control sends a request to the control API of a simulator and decodes the
// answer into out, unless that is nil.
func control(ctx context.Context, address, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address+simulator.Control+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("--simulator: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("reach the simulated Spacelift: %w; start the lab, and set %s to the address that it prints", err, simulatorURLVariable)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the simulator's answer: %w", err)
	}
	if res.StatusCode/100 != 2 {
		return refusalOf(res, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read the simulator's answer: %w", err)
	}
	return nil
}

// refusalOf returns the error that the simulator answered with.
func refusalOf(res *http.Response, answer []byte) error {
	var problem struct{ Detail string }
	if json.Unmarshal(answer, &problem) == nil && problem.Detail != "" {
		return errors.New(problem.Detail)
	}
	return fmt.Errorf("%s answered %s and is not a simulated Spacelift; set %s to the address that the lab prints", res.Request.URL.Host, res.Status, simulatorURLVariable)
}
