package main

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newStacksTriggerCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "trigger STACK", Short: "Trigger a run of a managed stack", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(stackNames, true),
		Long: `Asks Spacelift to start a run of a managed stack, of its latest commit or the one that --commit names. With --wait the command
waits for the end of the run.`,
		Example: "  gantry stacks trigger network-prod --note 'after the incident' --wait\n  gantry stacks trigger network-prod --preview",
	}
	account := accountFlag(r, cmd)
	preview := cmd.Flags().Bool("preview", false, "plan alone (a proposed run), instead of a run that may be applied")
	commit := cmd.Flags().String("commit", "", "hash of the commit, with all its 40 digits; default: the stack's latest")
	wait, note := waitFlags(cmd), noteFlag(cmd, "why, for the audit log")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := r.connect(cmd)
		if err != nil {
			return err
		}
		in, stack, err := s.stackName(cmd.Context(), *account, args[0])
		if err != nil {
			return err
		}
		body := api.TriggerRequest{Commit: given(*commit), Note: given(*note)}
		if *preview {
			body.Type = new(api.TriggerRequestTypePROPOSED)
		}
		return s.trigger(cmd.Context(), in, stack, body, wait)
	}
	return cmd
}

// trigger triggers a run, and with --wait waits for its end.
func (s *session) trigger(ctx context.Context, account, stack string, body api.TriggerRequest, wait waitFor) error {
	key := rand.Text() // under one key it is one run, however often it is sent
	send := func(ctx context.Context) (api.Trigger, error) {
		return gantry.Answer[api.Trigger](s.TriggerRun(ctx, account, stack, &api.TriggerRunParams{IdempotencyKey: &key}, body))
	}
	t, err := send(ctx)
	if err != nil {
		return s.ofStack(ctx, account, stack, err)
	}
	if !*wait.wait {
		return answered(s, t, printTrigger)
	}
	ctx, cancel := withTimeout(ctx, *wait.timeout)
	defer cancel()
	if t, err = untilNamed(ctx, t, func(t api.Trigger) *string { return t.Run }, send); err != nil {
		return err
	}
	if !s.Structured() {
		if err := answered(s, t, printTrigger); err != nil {
			return err
		}
	}
	return s.awaitEnd(ctx, runName{t.Account, t.Stack, *t.Run}, nil)
}

func printTrigger(s *session, t api.Trigger) error {
	if t.Run == nil {
		return s.Sentence(fmt.Sprintf("%s/%s: triggered; Spacelift has not named the run yet", t.Account, t.Stack))
	}
	return s.Sentence(runName{t.Account, t.Stack, *t.Run}.String() + " is triggered")
}
