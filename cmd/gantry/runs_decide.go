package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

// decision is a command that decides about a run.
type decision struct {
	verdict     api.Verdict
	short, long string
	done        string // printed once the decision counted

	// aboutPlan is set if the verdict concerns the plan at the time the command
	// runs, unless --state-version names a plan.
	aboutPlan bool
}

var decisions = []decision{
	{api.VerdictApprove, "Approve the plan of a run", `Approves the current plan, or the one that --state-version names: any other plan is refused.
The approval counts for this plan alone. Until Gantry confirms, revoke takes it back.`, "approved", true},
	{api.VerdictReject, "Reject the plan of a run, which ends it", `Rejects the current plan, or the one that --state-version names. The run is discarded.`, "rejected", true},
	{api.VerdictRevoke, "Revoke your approval", `Revokes your own approval, as long as Gantry hasn't sent the confirmation.`, "revoked", false},
}

// doneBy returns what was done by a decision.
func doneBy(v api.Verdict) string {
	return decisions[slices.IndexFunc(decisions, func(d decision) bool { return d.verdict == v })].done
}

func newDecideCommand(r *remote, d decision) *cobra.Command {
	cmd := &cobra.Command{
		Use: string(d.verdict) + " RUN|STACK", Short: d.short, Long: d.long, Args: cobra.MaximumNArgs(1), ValidArgsFunction: r.completing(waitingNames, true),
		Example: "  gantry runs " + string(d.verdict) + " network-prod --note 'as announced'",
	}
	stateVersion := cmd.Flags().Int("state-version", 0, "state version of the plan that you reviewed")
	wait, note := waitFlags(cmd), noteFlag(cmd, "why, for the timeline and for Spacelift")
	var several selection
	if !d.aboutPlan {
		cmd.ValidArgsFunction = r.completing(runOrStackNames, true)
	} else {
		several = selectionFlags(r, cmd)
		cmd.Long += `

Instead of one run, flags may select all that wait for you on certain stacks or with a commit. The command lists them,
and asks before it decides; --yes answers.`
		cmd.Example += "\n  gantry " + string(d.verdict) + " --space production --commit 9f2c1d7"
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return decideSelected(r, cmd, several, wait, d, given(*note))
		}
		if d.aboutPlan && several.given() {
			return errors.New("name one run or select several, not both")
		}
		s, name, err := r.about(cmd, args, oneWaiting)
		if err != nil {
			return err
		}
		body := api.DecisionRequest{Verdict: d.verdict, Note: given(*note)}
		switch {
		case cmd.Flags().Changed("state-version"):
			body.StateVersion = stateVersion
		case d.aboutPlan:
			run, err := s.run(cmd.Context(), name)
			if err != nil {
				return err
			}
			body.StateVersion = &run.StateVersion
		}
		run, err := s.decide(cmd.Context(), name, body)
		if err != nil {
			return err
		}
		return wait.after(cmd.Context(), s, name, run, d.done+inBrackets(planOf(run)))
	}
	return cmd
}

// newTopDecideCommand returns gantry approve or gantry reject, which do what those of
// gantry runs do.
func newTopDecideCommand(i int) *cobra.Command {
	holder := &cobra.Command{}
	r := remoteFlags(holder)
	cmd := newDecideCommand(r, decisions[i])
	cmd.PersistentFlags().AddFlagSet(holder.PersistentFlags())
	return cmd
}

// decideSelected decides about the runs that flags select.
func decideSelected(r *remote, cmd *cobra.Command, several selection, wait waitFor, d decision, note *string) error {
	switch {
	case !d.aboutPlan:
		return errors.New("name the run")
	case !several.given():
		return errNothingNamed
	case *wait.wait || cmd.Flags().Changed("state-version"):
		return errors.New("--wait and --state-version are for one run")
	}
	s, err := r.connect(cmd)
	if err != nil {
		return err
	}
	return several.decideAll(cmd, s, d, note)
}

func newStopCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "stop RUN", Short: "Stop a run: cancel, stop or discard it as its state allows"}
	return newRunChangeCommand(r, cmd, func(ctx context.Context, s *session, n runName, note *string) (api.Run, string, error) {
		run, err := gantry.Answer[api.Run](s.StopRun(ctx, n.account, n.stack, n.run, nil, api.ActionRequest{Note: note}))
		return run, "stop requested", err
	})
}

// newRunChangeCommand completes a command that changes a run and, with --wait,
// waits for its end. send returns the run and a few words on what was done.
func newRunChangeCommand(r *remote, cmd *cobra.Command, send func(context.Context, *session, runName, *string) (api.Run, string, error)) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = cobra.ExactArgs(1), r.completing(runNames, true)
	wait, note := waitFlags(cmd), noteFlag(cmd, "why, for the timeline and for Spacelift")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, name, err := r.about(cmd, args, none)
		if err != nil {
			return err
		}
		run, done, err := send(cmd.Context(), s, name, given(*note))
		if err != nil {
			return err
		}
		return wait.after(cmd.Context(), s, name, run, done)
	}
	return cmd
}

func newRetryCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "retry RUN", Short: "Retry a failed run, once", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(runNames, true),
		Long: `Asks Spacelift to run a failed run again. Each run can be retried once. With --wait the command waits for the end of
the new run.`,
	}
	wait, note := waitFlags(cmd), noteFlag(cmd, "why, for the timeline")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, name, err := r.about(cmd, args, none)
		if err != nil {
			return err
		}
		key := rand.Text() // under one key it is one retry, however often it is sent
		send := func(ctx context.Context) (api.Retry, error) {
			return gantry.Answer[api.Retry](s.RetryRun(ctx, name.account, name.stack, name.run, &api.RetryRunParams{IdempotencyKey: &key}, api.ActionRequest{Note: given(*note)}))
		}
		retry, err := send(cmd.Context())
		if err != nil {
			return err
		}
		if !*wait.wait {
			return s.retried(retry, name)
		}
		ctx, cancel := withTimeout(cmd.Context(), *wait.timeout)
		defer cancel()
		if retry, err = untilNamed(ctx, retry, func(r api.Retry) *string { return r.New }, send); err != nil {
			return err
		}
		if !s.Structured() {
			if err := s.retried(retry, name); err != nil {
				return err
			}
		}
		return s.awaitEnd(ctx, runName{name.account, name.stack, *retry.New}, nil)
	}
	return cmd
}

// retryPause is the time between requests for Spacelift's answer to a retry or a trigger.
const retryPause = 2 * time.Second

// untilNamed sends a change again under its key until the answer names the run that
// Spacelift made for it.
func untilNamed[T any](ctx context.Context, answer T, run func(T) *string, send func(context.Context) (T, error)) (T, error) {
	for run(answer) == nil {
		err := pause(ctx, retryPause)
		if err == nil {
			answer, err = send(ctx)
		}
		if err != nil {
			return answer, err
		}
	}
	return answer, nil
}

func (s *session) retried(retry api.Retry, name runName) error {
	if s.Structured() {
		return s.Encode(retry)
	}
	if retry.New == nil {
		fmt.Fprintf(s.Out, "%s: the retry is in progress; Spacelift has not answered yet\n", name)
		return nil
	}
	fmt.Fprintf(s.Out, "%s is retried as %s\n", name, output.Clean(runName{name.account, name.stack, *retry.New}.String()))
	return nil
}
