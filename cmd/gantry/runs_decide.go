package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
)

// decision is a command that decides about a run.
type decision struct {
	api         api.Verdict
	short, long string
	done        string // what to say once it counted

	// looks says that the verdict is about the plan as it is when the command
	// runs, unless --state-version names the plan that was looked at.
	looks bool
}

var decisions = []decision{
	{api.VerdictApprove, "Approve the plan of a run", `Approves the plan there is now, or the one that --state-version names: then another plan is refused.
It holds for this plan alone and can be taken back with revoke until Gantry confirms.`, "approved", true},
	{api.VerdictReject, "Reject the plan of a run, which ends it", `Rejects the plan there is now, or the one that --state-version names. The run is discarded.`, "rejected", true},
	{api.VerdictRevoke, "Take back one's approval", `Takes back one's own approval, until Gantry has sent the confirmation.`, "revoked", false},
}

func newDecideCommand(r *remote, v decision) *cobra.Command {
	var note string
	var stateVersion int
	cmd := &cobra.Command{
		Use: string(v.api) + " RUN", Short: v.short, Long: v.long, Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeRuns,
		Example: "  gantry runs " + string(v.api) + " acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7 --note 'as announced'",
	}
	wait := waitFlags(cmd)
	cmd.Flags().StringVar(&note, "note", "", "why, for the timeline and for Spacelift")
	cmd.Flags().IntVar(&stateVersion, "state-version", 0, "state version of the plan that was looked at")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, name, err := r.about(cmd, args)
		if err != nil {
			return err
		}
		body := api.DecisionRequest{Verdict: v.api, Note: given(note)}
		switch {
		case cmd.Flags().Changed("state-version"):
			body.StateVersion = &stateVersion
		case v.looks:
			run, err := s.run(cmd.Context(), name)
			if err != nil {
				return err
			}
			body.StateVersion = &run.StateVersion
		}
		run, err := change[api.Run](cmd.Context(), s, func(ctx context.Context, key *string) (*http.Response, error) {
			return s.DecideRun(ctx, name.account, name.stack, name.run, &api.DecideRunParams{IdempotencyKey: key}, body)
		})
		if err != nil {
			return err
		}
		return wait.after(cmd.Context(), s, name, run, v.done+inBrackets(planOf(run)))
	}
	return cmd
}

func newStopCommand(r *remote) *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use: "stop RUN", Short: "Stop a run: cancel, stop or discard it as its state allows", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeRuns,
	}
	wait := waitFlags(cmd)
	cmd.Flags().StringVar(&note, "note", "", "why, for the timeline and for Spacelift")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, name, err := r.about(cmd, args)
		if err != nil {
			return err
		}
		run, err := change[api.Run](cmd.Context(), s, func(ctx context.Context, key *string) (*http.Response, error) {
			return s.StopRun(ctx, name.account, name.stack, name.run, &api.StopRunParams{IdempotencyKey: key}, api.ActionRequest{Note: given(note)})
		})
		if err != nil {
			return err
		}
		return wait.after(cmd.Context(), s, name, run, "asked to stop")
	}
	return cmd
}

func newRetryCommand(r *remote) *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use: "retry RUN", Short: "Try a failed run again, once", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeRuns,
		Long: `Asks Spacelift to run a failed run again. There is one retry of each run, whoever asks first. With --wait it waits
for the end of the run that tries it again.`,
	}
	wait := waitFlags(cmd)
	cmd.Flags().StringVar(&note, "note", "", "why, for the timeline")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, name, err := r.about(cmd, args)
		if err != nil {
			return err
		}
		key := rand.Text()
		send := func(ctx context.Context) (api.Retry, error) {
			return changeUnder[api.Retry](ctx, s, key, func(ctx context.Context, key *string) (*http.Response, error) {
				return s.RetryRun(ctx, name.account, name.stack, name.run, &api.RetryRunParams{IdempotencyKey: key}, api.ActionRequest{Note: given(note)})
			})
		}
		retry, err := send(cmd.Context())
		if err != nil {
			return err
		}
		if !*wait.wait {
			return s.retried(retry, name)
		}
		ctx, cancel := patience(cmd.Context(), *wait.timeout)
		defer cancel()
		for retry.New == nil { // under one key it is one retry, however often it is asked about
			if err := pause(ctx, retryPause); err != nil {
				return err
			}
			if retry, err = send(ctx); err != nil {
				return cmp.Or(context.Cause(ctx), err)
			}
		}
		if !s.json {
			if err := s.retried(retry, name); err != nil {
				return err
			}
		}
		return until(ctx, s, runName{name.account, name.stack, *retry.New}, nil)
	}
	return cmd
}

// retryPause is the time between questions for what Spacelift said.
const retryPause = 2 * time.Second

func (s *session) retried(retry api.Retry, name runName) error {
	if s.json {
		return printJSON(s.out, retry)
	}
	if retry.New == nil {
		fmt.Fprintf(s.out, "%s: its retry is under way; Spacelift has not answered yet\n", name)
		return nil
	}
	fmt.Fprintf(s.out, "%s is tried again as %s\n", name, clean(runName{name.account, name.stack, *retry.New}.String()))
	return nil
}
