package inbox

import (
	"bytes"
	"context"
	"encoding/base64"
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
	// Since and Until bound the time of arrival: from Since on, before Until.
	Since, Until time.Time
}

func (f Filter) match(d *Delivery) bool {
	return (f.Outcome == "" || f.Outcome == d.Outcome) &&
		(f.Forwarding == "" || f.Forwarding == d.Forwarding) &&
		(f.Account == "" || f.Account == d.Run.Account) &&
		(f.Stack == "" || f.Stack == d.Run.Stack) &&
		(f.Run == "" || f.Run == d.Run.Run) &&
		(f.Reason == "" || f.Reason == d.Reason) &&
		(f.Since.IsZero() || !d.ReceivedAt.Before(f.Since)) &&
		(f.Until.IsZero() || d.ReceivedAt.Before(f.Until))
}

// Page sizes of List.
const (
	DefaultPageSize = 50
	MaxPageSize     = 500
)

// List returns deliveries, newest first, and a token for the next page, which
// is empty on the last one. Following the tokens shows each delivery once, and
// all that were there at the first call and have not been trimmed since; new
// ones do not shift the pages. A page size of 0 means [DefaultPageSize]. A
// token that List did not make is [ErrBadPageToken].
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
		spots, last := in.newest(f, before, 256)
		in.mu.Unlock()
		if len(spots) == 0 {
			if last == (ulid.ULID{}) {
				return page, "", nil
			}
			before = last
			continue
		}
		more, err := in.readPage(f, spots, &page, pageSize)
		in.leave(spots...)
		if err != nil {
			return nil, "", fmt.Errorf("list deliveries: %w", err)
		}
		if more {
			return page, makeToken(page[len(page)-1].ID), nil
		}
		before = last
	}
}

// readPage adds what matches to the page, and reports whether there is more
// than fits.
func (in *Inbox) readPage(f Filter, spots []spot, page *[]Delivery, size int) (more bool, err error) {
	for i := range spots {
		sp := &spots[i]
		var r record
		if sp.seg == nil {
			r = *sp.mark
		} else if r, err = sp.record(); err != nil {
			return false, err
		}
		in.overlayRun(&r)
		if !f.match(&r.Delivery) {
			continue
		}
		if len(*page) == size {
			return true, nil
		}
		*page = append(*page, r.Delivery)
	}
	return false, nil
}

// newest returns up to n candidates with ids below before, newest first, and
// the id to go on from: zero when there is nothing left. Called with mu held.
// It looks at what the index knows, so that most of what a filter leaves out
// need not be read.
func (in *Inbox) newest(f Filter, before ulid.ULID, n int) ([]spot, ulid.ULID) {
	type source struct {
		i    int // the next one is i-1
		id   func(int) ulid.ULID
		skip func(int) bool
		spot func(int) spot
	}
	position := func(n int, id func(int) ulid.ULID) int {
		lo, hi := 0, n
		for lo < hi {
			if mid := (lo + hi) / 2; id(mid).Compare(before) < 0 {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		return lo
	}
	var sources []*source
	add := func(n int, s source) {
		if s.i = position(n, s.id); s.i > 0 {
			sources = append(sources, &s)
		}
	}
	if f.Outcome == "" || f.Outcome == OutcomeAccepted {
		order := in.index.order
		add(len(order), source{
			id: func(i int) ulid.ULID { return order[i].id },
			skip: func(i int) bool {
				s := order[i].state
				return s == stateGone || f.Forwarding != "" && f.Forwarding != s.forwarding()
			},
			spot: func(i int) spot { return in.spot(order[i]) },
		})
	}
	for class, c := range in.logs {
		if f.Forwarding != "" || f.Outcome == OutcomeAccepted || f.Outcome != "" && classOf(f.Outcome) != class {
			continue
		}
		add(len(c.entries), source{
			id:   func(i int) ulid.ULID { return c.entries[i].id },
			skip: func(i int) bool { return f.Outcome != "" && f.Outcome != c.entries[i].outcome },
			spot: func(i int) spot { return c.spot(c.entries[i]) },
		})
		add(len(c.buf), source{
			id:   func(i int) ulid.ULID { return c.buf[i].id },
			skip: func(i int) bool { return f.Outcome != "" && f.Outcome != c.buf[i].rec.Outcome },
			spot: func(i int) spot { return spot{id: c.buf[i].id, mark: new(c.buf[i].rec)} },
		})
	}

	var spots []spot
	var last ulid.ULID
	for looked := 0; len(sources) > 0; looked++ {
		if len(spots) == n || looked == 1<<16 {
			return spots, last
		}
		s := slices.MaxFunc(sources, func(a, b *source) int {
			x, y := a.id(a.i-1), b.id(b.i-1)
			return bytes.Compare(x[:], y[:])
		})
		s.i--
		last = s.id(s.i)
		// Ids carry the time they were given, which is not before the arrival.
		if !f.Since.IsZero() && last.Time() < ulid.Timestamp(f.Since) {
			break
		}
		if !s.skip(s.i) {
			spots = append(spots, s.spot(s.i))
		}
		if s.i == 0 {
			sources = slices.DeleteFunc(sources, func(x *source) bool { return x == s })
		}
	}
	if len(spots) == 0 {
		last = ulid.ULID{}
	}
	return spots, last
}

// tokenVersion starts every page token; the id of the last delivery follows.
const tokenVersion = 1

func makeToken(lastID string) string {
	id := ulid.MustParseStrict(lastID)
	return base64.RawURLEncoding.EncodeToString(append([]byte{tokenVersion}, id[:]...))
}

// parseToken returns the id that the page begins below.
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
