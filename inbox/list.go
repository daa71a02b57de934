package inbox

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/spacelift"
)

// Filter selects deliveries; zero fields select all.
type Filter struct {
	Outcome    Outcome
	Forwarding Forwarding // of accepted ones
	Account    spacelift.Account
	Stack      spacelift.StackID
	Run        spacelift.RunID
	Reason     string
	// Since and Until limit the time of arrival: from Since on, before Until.
	Since, Until time.Time
	// Only, unless it is nil, reports whether to list a delivery that the other
	// fields select.
	Only func(Delivery) bool
}

func (f Filter) match(d *Delivery) bool {
	return (f.Outcome == "" || f.Outcome == d.Outcome) &&
		(f.Forwarding == "" || f.Forwarding == d.Forwarding) &&
		(f.Account == "" || f.Account == d.Run.Account) &&
		(f.Stack == "" || f.Stack == d.Run.Stack) &&
		(f.Run == "" || f.Run == d.Run.Run) &&
		(f.Reason == "" || f.Reason == d.Reason) &&
		(f.Since.IsZero() || !d.ReceivedAt.Before(f.Since)) &&
		(f.Until.IsZero() || d.ReceivedAt.Before(f.Until)) &&
		(f.Only == nil || f.Only(*d))
}

// Page sizes of List.
const (
	DefaultPageSize = 50
	MaxPageSize     = 500
)

// List returns deliveries, newest first, and a token for the next page, which is
// empty on the last page. The pages contain each delivery once, and all that
// existed at the first call and have not been trimmed since; new ones don't
// shift the pages. A page size of 0 means [DefaultPageSize]. A token that doesn't
// come from List is an [ErrBadPageToken].
func (in *Inbox) List(ctx context.Context, f Filter, pageSize int, pageToken string) ([]Delivery, string, error) {
	before, err := parseToken(pageToken)
	if err != nil {
		return nil, "", err
	}
	if pageSize <= 0 {
		pageSize = DefaultPageSize
	}
	pageSize = min(pageSize, MaxPageSize)

	var page []Delivery
	for {
		if err := ctx.Err(); err != nil {
			return nil, "", fmt.Errorf("list deliveries: %w", err)
		}
		in.mu.Lock()
		if in.closed {
			in.mu.Unlock()
			return nil, "", fmt.Errorf("list deliveries: %w: it is closing", ErrUnavailable)
		}
		refs, last := in.newest(f, before, min(256, 2*pageSize))
		in.mu.Unlock()
		for i := range refs {
			d, _, err := in.read(&refs[i])
			switch {
			case errors.Is(err, ErrNotFound): // trimmed since
				continue
			case errors.Is(err, errRecord):
				in.log.Error("inbox: the list skips a damaged record", "row", refs[i].seq, "error", err)
				continue
			case err != nil:
				return nil, "", fmt.Errorf("list deliveries: %w", err)
			}
			if !f.match(&d) {
				continue
			}
			if len(page) == pageSize {
				return page, makeToken(page[len(page)-1].ID), nil
			}
			page = append(page, d)
		}
		if last == (ulid.ULID{}) {
			return page, "", nil
		}
		before = last
	}
}

// newest returns up to n candidates with ids below before, newest first, and the
// id to continue from: zero when there are no more. It filters by the fields in
// the index, so that most unwanted deliveries aren't read. Called with mu held.
func (in *Inbox) newest(f Filter, before ulid.ULID, n int) (refs []ref, last ulid.ULID) {
	sources := in.sources(f, before)
	outcome := outcomeCode(f.Outcome)
	for visited := 0; len(sources) > 0; visited++ {
		if len(refs) == n || visited == 1<<14 {
			return refs, last
		}
		s := slices.MaxFunc(sources, func(a, b *source) int { return a.head.id.Compare(b.head.id) })
		e := s.head
		last = e.id
		// Ids contain their time of creation, which is not before the arrival.
		if !f.Since.IsZero() && last.Time() < ulid.Timestamp(f.Since) {
			break
		}
		if (f.Forwarding == "" || f.Forwarding == e.state.forwarding()) && (f.Outcome == "" || e.outcome == outcome) {
			refs = append(refs, in.ref(e))
		}
		if s.head = s.next(); s.head == nil {
			sources = slices.DeleteFunc(sources, func(x *source) bool { return x == s })
		}
	}
	return refs, ulid.ULID{}
}

// source is a shelf that newest merges with others.
type source struct {
	head *entry
	next func() *entry
}

// sources returns the shelves that can have deliveries for the filter, with their
// newest entries below before. Called with mu held.
func (in *Inbox) sources(f Filter, before ulid.ULID) (sources []*source) {
	add := func(s *shelf) {
		next := s.descend(before, false)
		if e := next(); e != nil {
			sources = append(sources, &source{e, next})
		}
	}
	if f.Outcome == "" || f.Outcome == OutcomeAccepted {
		add(&in.index.shelf)
	}
	for class, c := range in.logs {
		if f.Forwarding == "" && (f.Outcome == "" || f.Outcome != OutcomeAccepted && classOf(f.Outcome) == class) {
			add(&c.shelf)
		}
	}
	return sources
}

// tokenVersion starts every page token; the id of the last delivery follows.
const tokenVersion = 1

func makeToken(lastID string) string {
	id := ulid.MustParseStrict(lastID)
	return base64.RawURLEncoding.EncodeToString(append([]byte{tokenVersion}, id[:]...))
}

// parseToken returns the id below which the page begins.
func parseToken(token string) (ulid.ULID, error) {
	var id ulid.ULID
	if token == "" {
		for i := range id {
			id[i] = 0xff
		}
		return id, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 1+len(id) || b[0] != tokenVersion {
		return ulid.ULID{}, fmt.Errorf("%w: %.40q", ErrBadPageToken, token)
	}
	copy(id[:], b[1:])
	return id, nil
}
