package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"github.com/gantryhq/gantry/spacelift"
)

// statuses are the outcomes and stages of forwarding that a row's status stands for, with
// the budget of each.
var statuses = [...]struct {
	outcome    Outcome
	forwarding Forwarding
	keep       func(*Budgets) *Budget
}{
	{OutcomeAccepted, ForwardingPending, nil},
	{OutcomeAccepted, ForwardingForwarded, func(b *Budgets) *Budget { return &b.Entries }},
	{OutcomeAccepted, ForwardingLate, func(b *Budgets) *Budget { return &b.Entries }},
	dead: {OutcomeAccepted, ForwardingDead, func(b *Budgets) *Budget { return &b.Dead }},
	{OutcomeDuplicate, "", func(b *Budgets) *Budget { return &b.Ignored }},
	ignored: {OutcomeIgnored, "", func(b *Budgets) *Budget { return &b.Ignored }},
	{OutcomeRefused, "", func(b *Budgets) *Budget { return &b.Refused }},
	{OutcomeUnavailable, "", func(b *Budgets) *Budget { return &b.Ignored }},
	unreadable: {OutcomeIgnored, "", func(b *Budgets) *Budget { return &b.Unreadable }},
}

const (
	dead       = 3
	ignored    = 5
	unreadable = 8 // ignored, with its body
)

func statusOf(o Outcome, f Forwarding) int {
	for st, s := range statuses {
		if s.outcome == o && s.forwarding == f {
			return st
		}
	}
	return ignored
}

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

const (
	selectRow = "SELECT n, idx, status, attempts, forwarded, error, doc FROM deliveries WHERE "
	pageOrder = " ORDER BY n DESC LIMIT ?"
)

// where returns the condition of a filter. It avoids the index on status unless
// there is no better one.
func (f Filter) where(before int64) (cond string, args []any) {
	cond, args = "n < ?", []any{before}
	var wanted []string
	for st, s := range statuses {
		if (f.Outcome == "" || f.Outcome == s.outcome) && (f.Forwarding == "" || f.Forwarding == s.forwarding) {
			wanted = append(wanted, strconv.Itoa(st))
		}
	}
	switch indexed := f.Run != "" || f.Stack != "" || f.Reason != ""; {
	case len(wanted) == 1 && !indexed:
		cond += " AND status = " + wanted[0]
	case len(wanted) < len(statuses):
		cond += " AND +status IN (" + strings.Join(wanted, ",") + ")"
	}
	stack := "stack = ?"
	if f.Run != "" {
		stack = "+stack = ?"
	}
	for _, c := range []struct {
		given bool
		cond  string
		value any
	}{
		{f.Run != "", "run = ?", string(f.Run)}, {f.Stack != "", stack, string(f.Stack)},
		{f.Reason != "", "reason > '' AND reason = ?", f.Reason}, {f.Account != "", "+account = ?", string(f.Account)},
		{!f.Since.IsZero(), "n >= ?", f.Since.UnixMilli() << 16}, // see Row.Number
		{!f.Since.IsZero(), "+received >= ?", f.Since.UnixNano()}, {!f.Until.IsZero(), "+received < ?", f.Until.UnixNano()},
	} {
		if c.given {
			cond, args = cond+" AND "+c.cond, append(args, c.value)
		}
	}
	return cond, args
}

// List returns up to limit deliveries below a number, newest first, and whether there are
// more.
func (a *DB) List(ctx context.Context, f Filter, before int64, limit int) (page []Row, more bool, err error) {
	for {
		where, args := f.where(before)
		found, err := a.page(ctx, where, limit+1, args...)
		if err != nil {
			return nil, false, err
		}
		for _, r := range found {
			if f.Only != nil && !f.Only(r.Delivery) {
				continue
			}
			if len(page) == limit {
				return page, true, nil
			}
			page = append(page, r)
		}
		if len(found) <= limit {
			return page, false, nil
		}
		before = found[len(found)-1].Number
	}
}

// Get returns the delivery with a number, nil if there is none.
func (a *DB) Get(ctx context.Context, n int64) (*Row, error) {
	found, err := a.page(ctx, "n = ?", 1, n)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Body returns the body of a dead or unreadable delivery, nil of any other.
func (a *DB) Body(ctx context.Context, n int64) (body []byte, err error) {
	err = a.r.Load().QueryRowContext(ctx, "SELECT body FROM bodies WHERE n = ?", n).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return body, err
}

// page returns up to limit deliveries that a condition selects, newest first.
func (a *DB) page(ctx context.Context, cond string, limit int, args ...any) (page []Row, err error) {
	err = a.read(ctx, selectRow+cond+pageOrder, append(args, limit), func(scan func(...any) error) error {
		var r Row
		var res Result
		var st int
		var doc []byte
		if err := scan(&r.Number, &r.Index, &st, &res.Attempts, &res.ForwardedAt, &res.Error, &doc); err != nil {
			return err
		}
		if err := json.Unmarshal(doc, &r.Delivery); err != nil {
			return fmt.Errorf("delivery %d: %w", r.Number, err)
		}
		r.Outcome, res.Forwarding = statuses[st].outcome, statuses[st].forwarding
		res.apply(&r.Delivery)
		r.HasBody = r.Size > 0 && (st == dead || st == unreadable)
		page = append(page, r)
		return nil
	})
	return page, err
}

// MaxTraffic bounds the deliveries that Traffic counts, so that it takes a fraction of a
// second.
const MaxTraffic = 50_000

// Traffic counts deliveries with the same account, outcome and reason.
type Traffic struct {
	Account spacelift.Account
	Outcome Outcome
	Reason  string
	Count   int
	Last    time.Time // when the last one arrived
}

// Traffic counts the deliveries since a time, of the newest MaxTraffic at most.
func (a *DB) Traffic(ctx context.Context, since time.Time) (all []Traffic, err error) {
	// Accepted deliveries are one, whatever their stage of forwarding, and so are ignored ones.
	const query = `SELECT account, CASE WHEN status < 4 THEN 0 WHEN status = 8 THEN 5 ELSE status END AS outcome, reason, count(*), max(received) FROM (
		SELECT account, status, reason, received FROM deliveries WHERE n >= ? AND +received >= ? ORDER BY n DESC LIMIT ?)
		GROUP BY account, outcome, reason ORDER BY account, outcome, reason`
	err = a.read(ctx, query, []any{since.UnixMilli() << 16, since.UnixNano(), MaxTraffic}, func(scan func(...any) error) error {
		var t Traffic
		var st int
		var last int64
		err := scan(&t.Account, &st, &t.Reason, &t.Count, &last)
		t.Outcome, t.Last = statuses[st].outcome, time.Unix(0, last).UTC()
		all = append(all, t)
		return err
	})
	return all, err
}

// read calls visit for each row of a query, once it is the reader's turn.
func (a *DB) read(ctx context.Context, query string, args []any, visit func(scan func(...any) error) error) error {
	if err := a.opts.Turn(ctx); err != nil {
		return err
	}
	rows, err := a.r.Load().QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	for rows.Next() {
		if err := visit(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
