package gantry

import (
	"context"
	"iter"
	"net/http"

	"github.com/gantryhq/gantry/gen/api"
)

// Runs yields the runs that a search selects, on all its pages. An error ends it; nil
// params select every run.
func (c *Client) Runs(ctx context.Context, params *api.ListRunsParams) iter.Seq2[api.RunSummary, error] {
	p := copyOf(params)
	return pages(&p.PageToken, func() (*http.Response, error) { return c.ListRuns(ctx, &p) },
		func(l api.RunList) ([]api.RunSummary, *string) { return l.Runs, l.NextPageToken })
}

// Stacks yields the managed stacks of an account that a search selects, on all its pages.
// An error ends it; nil params select every stack.
func (c *Client) Stacks(ctx context.Context, account string, params *api.ListStacksParams) iter.Seq2[api.Stack, error] {
	p := copyOf(params)
	return pages(&p.PageToken, func() (*http.Response, error) { return c.ListStacks(ctx, account, &p) },
		func(l api.StackList) ([]api.Stack, *string) { return l.Stacks, l.NextPageToken })
}

// Chains yields the chains of an account that a search selects, on all its pages. An error
// ends it; nil params select every chain.
func (c *Client) Chains(ctx context.Context, account string, params *api.ListChainsParams) iter.Seq2[api.ChainSummary, error] {
	p := copyOf(params)
	return pages(&p.PageToken, func() (*http.Response, error) { return c.ListChains(ctx, account, &p) },
		func(l api.ChainList) ([]api.ChainSummary, *string) { return l.Chains, l.NextPageToken })
}

// Timeline yields the entries of a run's timeline, oldest first. An error ends it; nil
// params select every entry.
func (c *Client) Timeline(ctx context.Context, account, stack, run string, params *api.ListTimelineParams) iter.Seq2[api.TimelineEntry, error] {
	p := copyOf(params)
	return pages(&p.PageToken, func() (*http.Response, error) { return c.ListTimeline(ctx, account, stack, run, &p) },
		func(l api.Timeline) ([]api.TimelineEntry, *string) { return l.Entries, l.NextPageToken })
}

// Deliveries yields the deliveries that a search selects, newest first. An error ends it;
// nil params select every delivery. Replicas that didn't answer are left out: read a page
// of ListDeliveries to see which.
func (c *Client) Deliveries(ctx context.Context, params *api.ListDeliveriesParams) iter.Seq2[api.Delivery, error] {
	p := copyOf(params)
	return pages(&p.PageToken, func() (*http.Response, error) { return c.ListDeliveries(ctx, &p) },
		func(l api.DeliveryList) ([]api.Delivery, *string) { return l.Deliveries, l.NextPageToken })
}

// AuditEntries yields the entries of the audit log that a search selects, newest first. An
// error ends it; nil params select every entry.
func (c *Client) AuditEntries(ctx context.Context, params *api.ListAuditParams) iter.Seq2[api.AuditEntry, error] {
	p := copyOf(params)
	return pages(&p.PageToken, func() (*http.Response, error) { return c.ListAudit(ctx, &p) },
		func(l api.AuditList) ([]api.AuditEntry, *string) { return l.Entries, l.NextPageToken })
}

func copyOf[T any](params *T) T {
	if params == nil {
		return *new(T)
	}
	return *params
}

// Pages yields the items of one page after the other, from the page that token names. page
// reads that page and returns its items and the token of the next, nil for none. An error
// ends it. Between pages, and once the caller stops, token names the next page; nil after
// the last. A page may be empty and have a next one.
func Pages[T any](token **string, page func() (items []T, next *string, err error)) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		for {
			items, next, err := page()
			if err != nil {
				yield(nil, err)
				return
			}
			if *token = next; !yield(items, nil) || next == nil {
				return
			}
		}
	}
}

// pages yields the items of all pages, from the page that token names.
func pages[L, T any](token **string, page func() (*http.Response, error), items func(L) ([]T, *string)) iter.Seq2[T, error] {
	first := *token
	read := func() ([]T, *string, error) {
		list, err := Answer[L](page())
		if err != nil {
			return nil, nil, err
		}
		all, next := items(list)
		return all, next, nil
	}
	return func(yield func(T, error) bool) {
		*token = first
		for all, err := range Pages(token, read) {
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, item := range all {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}
