package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newDeliveriesCommand() *cobra.Command {
	deliveries := &cobra.Command{Use: "deliveries", Short: "Show what the webhook received and what Gantry did with it"}
	r := remoteFlags(deliveries)
	deliveries.AddCommand(newDeliveriesListCommand(r), newDeliveriesShowCommand(r), newRedeliverCommand(r))
	return deliveries
}

func newDeliveriesListCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List deliveries, newest first", Args: cobra.NoArgs,
		Example: "  gantry deliveries list --outcome refused --since 1h",
	}
	f := cmd.Flags()
	outcome := choiceFlag(cmd, "outcome", "only deliveries with this outcome, such as refused", "accepted", "duplicate", "ignored", "refused", "unavailable")
	forwarding := choiceFlag(cmd, "forwarding", "only deliveries in this state of forwarding to Temporal, such as dead", "pending", "forwarded", "late", "dead")
	reason := f.String("reason", "", "only deliveries with this reason")
	account := f.String("account", "", "only deliveries of this account")
	stack := f.String("stack", "", "only deliveries of this stack")
	run := f.String("run", "", "only deliveries of this run")
	since := f.String("since", "", "only deliveries received at or after this time, or within a duration such as 2h")
	until := f.String("until", "", "only deliveries received before this time, or longer ago than a duration such as 2h")
	completeStacks(r, cmd)
	limit := pagingFlags(cmd)
	listing(r, cmd, noEvents, func(ctx context.Context, s *session, _ []string) (api.DeliveryList, error) {
		after, before, err := period(*since, *until)
		if err != nil {
			return api.DeliveryList{}, err
		}
		return s.deliveries(ctx, api.ListDeliveriesParams{
			Outcome: given(api.Outcome(*outcome)), Forwarding: given(api.Forwarding(*forwarding)), Reason: given(*reason),
			Account: given(*account), Stack: given(*stack), Run: given(*run), Since: after, Until: before,
		}, limit.most())
	}, printDeliveries)
	return cmd
}

// printDeliveries prints a list. It names the replica of each delivery if there are
// several, and those that did not answer.
func printDeliveries(s *session, list api.DeliveryList) error {
	t := s.List("deliveries", []output.Column{
		{Title: "RECEIVED"}, {Title: "REPLICA"}, {Title: "OUTCOME", Tone: toneOf}, {Title: "FORWARDING", Tone: toneOf}, {Title: "STACK"}, {Title: "STATE"},
		{Title: "WHY", Wraps: true}, {Title: "RUN", Drop: 2}, {Title: "DELIVERY", Drop: 1},
	})
	for _, d := range list.Deliveries {
		replica := ""
		if len(list.Replicas) > 1 {
			replica = d.Replica
		}
		t.Row(s.When(&d.ReceivedAt), replica, string(d.Outcome), string(deref(d.Forwarding)), stackOf(d.Account, d.Stack), deref(d.State), deref(d.Detail), deref(d.Run), d.ID)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	s.warnOfReplicas(list.Replicas)
	return nil
}

// warnOfReplicas names the replicas whose deliveries are missing.
func (s *session) warnOfReplicas(replicas []api.Replica) {
	for _, r := range replicas {
		if r.Problem != nil {
			fmt.Fprintf(s.Err, "gantry: without the deliveries of %s: %s\n", output.Clean(r.Name), output.Clean(*r.Problem))
		}
	}
}

// addReplicas adds those of another page. A replica that missed one page is named.
func addReplicas(all, more []api.Replica) []api.Replica {
	for _, r := range more {
		i := slices.IndexFunc(all, func(known api.Replica) bool { return known.Name == r.Name && deref(known.ID) == deref(r.ID) })
		if i < 0 {
			all = append(all, r)
		}
	}
	return all
}

// stackOf returns the name of a stack, as far as it is known.
func stackOf(account, stack *string) string {
	return strings.Trim(deref(account)+"/"+deref(stack), "/")
}

// runOf returns the name of a delivery's run, if it has one.
func runOf(d api.Delivery) string {
	if d.Run == nil {
		return ""
	}
	return runName{deref(d.Account), deref(d.Stack), *d.Run}.String()
}

func (s *session) deliveries(ctx context.Context, p api.ListDeliveriesParams, limit int) (all api.DeliveryList, err error) {
	all.Deliveries, all.NextPageToken, err = pages(limit, func(size *int, token *string) ([]api.Delivery, *string, error) {
		p.PageSize, p.PageToken = size, token
		page, err := gantry.Answer[api.DeliveryList](s.ListDeliveries(ctx, &p))
		all.Replicas = addReplicas(all.Replicas, page.Replicas)
		return page.Deliveries, page.NextPageToken, err
	})
	return all, err
}

func newDeliveriesShowCommand(r *remote) *cobra.Command {
	var body bool
	cmd := &cobra.Command{
		Use: "show DELIVERY", Short: "Show one delivery", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(deliveryNames, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			detail, err := gantry.Answer[api.DeliveryDetail](s.GetDelivery(cmd.Context(), args[0]))
			switch {
			case err != nil:
				return err
			case body && detail.Body == nil:
				return errors.New("the body was not kept")
			case body:
				_, err := io.WriteString(output.Exact(s.Out), *detail.Body)
				return err
			}
			return answered(s, detail, func(s *session, d api.DeliveryDetail) error { return printDelivery(s, d.Delivery) })
		},
	}
	cmd.Flags().BoolVar(&body, "body", false, "print only the body: into a file or pipe exactly as it arrived")
	return cmd
}

func printDelivery(s *session, d api.Delivery) error {
	t := s.Facts()
	t.Fact("Delivery", d.ID)
	t.Fact("Received", s.When(&d.ReceivedAt)+" from "+d.Source)
	t.Fact("Replica", d.Replica)
	t.Fact("Outcome", string(d.Outcome))
	t.Fact("Reason", deref(d.Reason))
	t.Fact("  detail", deref(d.Detail))
	t.Fact("Run", runOf(d))
	t.Fact("State", deref(d.State))
	t.Fact("Size", strconv.Itoa(d.Size)+" bytes")
	t.Fact("Repeats", deref(d.DuplicateOf))
	t.Fact("Forwarding", string(deref(d.Forwarding)))
	t.Fact("  at", s.When(d.ForwardedAt))
	t.Fact("  failed with", deref(d.ForwardError))
	return t.Flush()
}

func newRedeliverCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "redeliver [DELIVERY]", Short: "Forward a delivery to its run again, or all dead ones", Args: cobra.MaximumNArgs(1), ValidArgsFunction: r.completing(deliveryNames, true),
	}
	dead := cmd.Flags().Bool("dead", false, "all deliveries that Temporal refused permanently")
	one := answering(r, func(ctx context.Context, s *session, args []string) (api.Delivery, error) {
		return gantry.Answer[api.Delivery](s.Redeliver(ctx, args[0], nil))
	}, func(s *session, d api.Delivery) error {
		_, err := fmt.Fprintf(s.Out, "%s will be forwarded again\n", d.ID)
		return err
	})
	all := answering(r, func(ctx context.Context, s *session, _ []string) (api.RedeliveryCount, error) {
		return gantry.Answer[api.RedeliveryCount](s.RedeliverDead(ctx, nil))
	}, func(s *session, count api.RedeliveryCount) error {
		s.warnOfReplicas(count.Replicas)
		_, err := fmt.Fprintf(s.Out, "%d deliveries will be forwarded again\n", count.Redelivered)
		return err
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case *dead == (len(args) == 1):
			return errors.New("name one delivery, or use --dead for all that Temporal refused")
		case *dead:
			return all(cmd, args)
		}
		return one(cmd, args)
	}
	return cmd
}
