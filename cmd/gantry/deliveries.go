package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
)

func newDeliveriesCommand() *cobra.Command {
	deliveries := &cobra.Command{Use: "deliveries", Short: "See what arrived at the webhook and what became of it"}
	r := remoteFlags(deliveries)
	deliveries.AddCommand(newDeliveriesListCommand(r), newDeliveriesShowCommand(r), newRedeliverCommand(r))
	return deliveries
}

func newDeliveriesListCommand(r *remote) *cobra.Command {
	var p struct{ outcome, forwarding, reason, account, stack, run, since, until string }
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List deliveries, newest first", Args: cobra.NoArgs,
		Example: "  gantry deliveries list --outcome refused --since 1h",
		RunE: func(cmd *cobra.Command, _ []string) error {
			since, err := timeOf("since", p.since, time.Now(), -1)
			if err != nil {
				return err
			}
			until, err := timeOf("until", p.until, time.Now(), -1)
			if err != nil {
				return err
			}
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			list, err := s.deliveries(cmd.Context(), api.ListDeliveriesParams{
				Outcome: given(api.Outcome(p.outcome)), Forwarding: given(api.Forwarding(p.forwarding)), Reason: given(p.reason),
				Account: given(p.account), Stack: given(p.stack), Run: given(p.run), Since: given(since), Until: given(until),
			}, limit)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(s.out, list)
			}
			t := newTable(s.out, "DELIVERY", "RECEIVED", "OUTCOME", "FORWARDING", "RUN", "STATE", "WHY")
			for _, d := range list.Deliveries {
				t.row(d.ID, when(&d.ReceivedAt), string(d.Outcome), string(deref(d.Forwarding)), runOf(d), deref(d.State), deref(d.Detail))
			}
			return t.flush()
		},
	}
	cmd.Flags().StringVar(&p.outcome, "outcome", "", "only deliveries answered so, such as refused")
	cmd.Flags().StringVar(&p.forwarding, "forwarding", "", "only deliveries at this point of their way to Temporal, such as dead")
	cmd.Flags().StringVar(&p.reason, "reason", "", "only deliveries with this reason")
	cmd.Flags().StringVar(&p.account, "account", "", "only deliveries of this account")
	cmd.Flags().StringVar(&p.stack, "stack", "", "only deliveries of this stack")
	cmd.Flags().StringVar(&p.run, "run", "", "only deliveries of this run")
	cmd.Flags().StringVar(&p.since, "since", "", "only deliveries received at or after this time, or within a span such as 2h")
	cmd.Flags().StringVar(&p.until, "until", "", "only deliveries received before this time, or before a span such as 2h ago")
	cmd.Flags().IntVar(&limit, "limit", defaultLimit, "most deliveries to list")
	complete(cmd, "outcome", "accepted", "duplicate", "ignored", "refused", "unavailable")
	complete(cmd, "forwarding", "pending", "forwarded", "late", "dead")
	return cmd
}

// runOf names the run of a delivery that has one.
func runOf(d api.Delivery) string {
	if d.Run == nil {
		return ""
	}
	return runName{deref(d.Account), deref(d.Stack), *d.Run}.String()
}

func (s *session) deliveries(ctx context.Context, p api.ListDeliveriesParams, limit int) (all api.DeliveryList, err error) {
	all.Deliveries, all.NextPageToken, err = pages(limit, func(size *int, token *string) ([]api.Delivery, *string, error) {
		p.PageSize, p.PageToken = size, token
		page, err := ask[api.DeliveryList](ctx, func(ctx context.Context) (*http.Response, error) { return s.ListDeliveries(ctx, &p) })
		return page.Deliveries, page.NextPageToken, err
	})
	return all, err
}

func newDeliveriesShowCommand(r *remote) *cobra.Command {
	var body bool
	cmd := &cobra.Command{
		Use: "show DELIVERY", Short: "Show one delivery", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeDeliveries,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			detail, err := ask[api.DeliveryDetail](cmd.Context(), func(ctx context.Context) (*http.Response, error) { return s.GetDelivery(ctx, args[0]) })
			switch {
			case err != nil:
				return err
			case body && detail.Body == nil:
				return errors.New("the body was not kept")
			case body:
				fmt.Fprint(s.out, *detail.Body) // exactly as it arrived
				return nil
			case s.json:
				return printJSON(s.out, detail)
			}
			return showDelivery(s, detail.Delivery)
		},
	}
	cmd.Flags().BoolVar(&body, "body", false, "print the body alone, exactly as it arrived")
	return cmd
}

func showDelivery(s *session, d api.Delivery) error {
	t := newTable(s.out)
	t.fact("Delivery", d.ID)
	t.fact("Received", when(&d.ReceivedAt)+" from "+d.Source)
	t.fact("Outcome", string(d.Outcome))
	t.fact("Reason", deref(d.Reason))
	t.fact("  in words", deref(d.Detail))
	t.fact("Run", runOf(d))
	t.fact("State", deref(d.State))
	t.fact("Size", strconv.Itoa(d.Size)+" bytes")
	t.fact("Repeats", deref(d.DuplicateOf))
	t.fact("Forwarding", string(deref(d.Forwarding)))
	t.fact("  at", when(d.ForwardedAt))
	t.fact("  failed with", deref(d.ForwardError))
	return t.flush()
}

func newRedeliverCommand(r *remote) *cobra.Command {
	var dead bool
	cmd := &cobra.Command{
		Use: "redeliver [DELIVERY]", Short: "Forward a delivery to its run again, or all dead ones", Args: cobra.MaximumNArgs(1), ValidArgsFunction: r.completeDeliveries,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dead == (len(args) == 1) {
				return errors.New("name one delivery, or give --dead for all that Temporal refused")
			}
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			if dead {
				return s.redeliverDead(cmd.Context())
			}
			d, err := change[api.Delivery](cmd.Context(), s, func(ctx context.Context, key *string) (*http.Response, error) {
				return s.Redeliver(ctx, args[0], &api.RedeliverParams{IdempotencyKey: key})
			})
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(s.out, d)
			}
			fmt.Fprintf(s.out, "%s waits to be forwarded again\n", d.ID)
			return nil
		},
	}
	cmd.Flags().BoolVar(&dead, "dead", false, "all deliveries that Temporal refused for good")
	return cmd
}

func (s *session) redeliverDead(ctx context.Context) error {
	count, err := change[api.RedeliveryCount](ctx, s, func(ctx context.Context, key *string) (*http.Response, error) {
		return s.RedeliverDead(ctx, &api.RedeliverDeadParams{IdempotencyKey: key})
	})
	if err != nil {
		return err
	}
	if s.json {
		return printJSON(s.out, count)
	}
	fmt.Fprintf(s.out, "%d deliveries wait to be forwarded again\n", count.Redelivered)
	return nil
}
