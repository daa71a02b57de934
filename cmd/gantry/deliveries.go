package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
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
	outcome := f.String("outcome", "", "only deliveries with this outcome, such as refused")
	forwarding := f.String("forwarding", "", "only deliveries in this state of forwarding to Temporal, such as dead")
	reason := f.String("reason", "", "only deliveries with this reason")
	account := f.String("account", "", "only deliveries of this account")
	stack := f.String("stack", "", "only deliveries of this stack")
	run := f.String("run", "", "only deliveries of this run")
	since := f.String("since", "", "only deliveries received at or after this time, or within a duration such as 2h")
	until := f.String("until", "", "only deliveries received before this time, or longer ago than a duration such as 2h")
	limit := f.Int("limit", defaultLimit, "how many to list at most")
	complete(cmd, "outcome", "accepted", "duplicate", "ignored", "refused", "unavailable")
	complete(cmd, "forwarding", "pending", "forwarded", "late", "dead")
	cmd.RunE = answering(r, func(ctx context.Context, s *session, _ []string) (api.DeliveryList, error) {
		after, before, err := period(*since, *until)
		if err != nil {
			return api.DeliveryList{}, err
		}
		return s.deliveries(ctx, api.ListDeliveriesParams{
			Outcome: given(api.Outcome(*outcome)), Forwarding: given(api.Forwarding(*forwarding)), Reason: given(*reason),
			Account: given(*account), Stack: given(*stack), Run: given(*run), Since: after, Until: before,
		}, *limit)
	}, printDeliveries)
	return cmd
}

// printDeliveries prints a list. It names the replica of each delivery if there are
// several, and those that did not answer.
func printDeliveries(s *session, list api.DeliveryList) error {
	columns, several := []string{"DELIVERY", "RECEIVED", "OUTCOME", "FORWARDING", "RUN", "STATE", "WHY"}, len(list.Replicas) > 1
	if several {
		columns = slices.Insert(columns, 2, "REPLICA")
	}
	t := newTable(s.out, columns...)
	for _, d := range list.Deliveries {
		row := []string{d.ID, when(&d.ReceivedAt), string(d.Outcome), string(deref(d.Forwarding)), runOf(d), deref(d.State), deref(d.Detail)}
		if several {
			row = slices.Insert(row, 2, d.Replica)
		}
		t.row(row...)
	}
	if err := t.flush(); err != nil {
		return err
	}
	s.warnOfReplicas(list.Replicas)
	return nil
}

// warnOfReplicas names the replicas whose deliveries are missing.
func (s *session) warnOfReplicas(replicas []api.Replica) {
	for _, r := range replicas {
		if r.Problem != nil {
			fmt.Fprintf(s.err, "gantry: without the deliveries of %s: %s\n", clean(r.Name), clean(*r.Problem))
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
		page, err := receive[api.DeliveryList](s.ListDeliveries(ctx, &p))
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
			detail, err := receive[api.DeliveryDetail](s.GetDelivery(cmd.Context(), args[0]))
			switch {
			case err != nil:
				return err
			case body && detail.Body == nil:
				return errors.New("the body was not kept")
			case body:
				_, err := io.WriteString(exact(s.out), *detail.Body)
				return err
			case s.json:
				return printJSON(s.out, detail)
			}
			return printDelivery(s, detail.Delivery)
		},
	}
	cmd.Flags().BoolVar(&body, "body", false, "print only the body: into a file or pipe exactly as it arrived")
	return cmd
}

func printDelivery(s *session, d api.Delivery) error {
	t := newTable(s.out)
	t.fact("Delivery", d.ID)
	t.fact("Received", when(&d.ReceivedAt)+" from "+d.Source)
	t.fact("Replica", d.Replica)
	t.fact("Outcome", string(d.Outcome))
	t.fact("Reason", deref(d.Reason))
	t.fact("  detail", deref(d.Detail))
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
	cmd := &cobra.Command{
		Use: "redeliver [DELIVERY]", Short: "Forward a delivery to its run again, or all dead ones", Args: cobra.MaximumNArgs(1), ValidArgsFunction: r.completing(deliveryNames, true),
	}
	dead := cmd.Flags().Bool("dead", false, "all deliveries that Temporal refused permanently")
	one := answering(r, func(ctx context.Context, s *session, args []string) (api.Delivery, error) {
		return change[api.Delivery](ctx, s, func(key *string) (*http.Response, error) {
			return s.Redeliver(ctx, args[0], &api.RedeliverParams{IdempotencyKey: key})
		})
	}, func(s *session, d api.Delivery) error {
		_, err := fmt.Fprintf(s.out, "%s will be forwarded again\n", d.ID)
		return err
	})
	all := answering(r, func(ctx context.Context, s *session, _ []string) (api.RedeliveryCount, error) {
		return change[api.RedeliveryCount](ctx, s, func(key *string) (*http.Response, error) {
			return s.RedeliverDead(ctx, &api.RedeliverDeadParams{IdempotencyKey: key})
		})
	}, func(s *session, count api.RedeliveryCount) error {
		s.warnOfReplicas(count.Replicas)
		_, err := fmt.Fprintf(s.out, "%d deliveries will be forwarded again\n", count.Redelivered)
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
