package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
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
	{OutcomeAccepted, ForwardingPending, func(b *Budgets) *Budget { return &b.Entries }},
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
	Forwarding Forwarding          // of accepted ones
	Accounts   []spacelift.Account // any of them; nil for all
	Stacks     []spacelift.StackID // any of them; nil for all
	Run        spacelift.RunID
	Reason     string
	// Since and Until limit the time of arrival: from Since on, before Until.
	Since, Until time.Time
	// Only, unless it is nil, reports whether to list a delivery that the other fields
	// select. Deliveries that it leaves out aren't decoded.
	Only func(run spacelift.RunRef, reason string) bool
}

const (
	selectRow = "SELECT n, idx, status, attempts, forwarded, error, account, stack, run, reason, doc FROM deliveries"
	maxRead   = 2000 // rows of one turn
	maxMerged = 200  // searches whose rows a query merges, which takes 5 ms
)

// query is a query of the newest deliveries. It searches one index: of those that a filter
// limits, the one with the fewest rows as a rule.
type query struct {
	args     []any
	searches []string // each returns rows in the order of the page
	rest     string   // of the condition
}

func (q *query) params(values ...any) (names []string) {
	for _, v := range values {
		q.args = append(q.args, v)
		names = append(names, "?"+strconv.Itoa(len(q.args)))
	}
	return names
}

// in limits a column, which has an index, to some values.
func (q *query) in(column string, values []string) {
	var each []string
	for _, v := range values {
		each = append(each, column+" = "+v)
	}
	q.search(column, each, " AND "+column+" IN ("+strings.Join(values, ",")+")")
}

// search searches the index of a column for each of some conditions, unless the query
// searches another one; then it checks all of them.
func (q *query) search(column string, each []string, all string) {
	if q.searches != nil || len(each) == 0 || len(each) > maxMerged {
		q.rest += all
		return
	}
	for _, one := range each {
		q.searches = append(q.searches, " INDEXED BY by_"+column+" WHERE "+one+" AND ")
	}
}

func (q *query) String() string {
	var all []string
	for _, s := range q.searches {
		all = append(all, selectRow+s+q.rest)
	}
	if all == nil {
		all = []string{selectRow + " NOT INDEXED WHERE " + q.rest}
	}
	return strings.Join(all, " UNION ALL ") + " ORDER BY n DESC LIMIT ?1"
}

// query returns the query of the deliveries below a number.
func (f Filter) query(before int64) *query {
	q := &query{args: []any{maxRead, before}, rest: "n < ?2"}
	if !f.Since.IsZero() {
		p := q.params(known(f.Since).UnixMilli()<<16, known(f.Since).UnixNano()) // see Row.Number
		q.rest += " AND n >= " + p[0] + " AND received >= " + p[1]
	}
	if !f.Until.IsZero() {
		q.rest += " AND received < " + q.params(known(f.Until).UnixNano())[0]
	}
	if f.Run != "" {
		q.in("run", q.params(string(f.Run)))
	}
	if f.Stacks != nil {
		q.in("stack", q.params(texts(f.Stacks)...))
	}
	if f.Reason != "" {
		q.rest += " AND reason > ''" // as the index has it
		q.in("reason", q.params(f.Reason))
	}
	wanted := f.statuses()
	if f.Accounts != nil {
		q.inAccounts(q.params(texts(f.Accounts)...), wanted)
	} else if len(wanted) < len(statuses) {
		q.in("status", wanted)
	}
	return q
}

// inAccounts limits accounts and statuses, which have one index.
func (q *query) inAccounts(accounts, wanted []string) {
	var each []string
	for _, a := range accounts {
		for _, st := range wanted {
			each = append(each, "account = "+a+" AND status = "+st)
		}
	}
	q.search("account", each, " AND account IN ("+strings.Join(accounts, ",")+") AND status IN ("+strings.Join(wanted, ",")+")")
}

// statuses returns the statuses that a filter selects.
func (f Filter) statuses() (all []string) {
	for st, s := range statuses {
		if (f.Outcome == "" || f.Outcome == s.outcome) && (f.Forwarding == "" || f.Forwarding == s.forwarding) {
			all = append(all, strconv.Itoa(st))
		}
	}
	return all
}

func texts[S ~string](values []S) (all []any) {
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}

// known returns a time, or the nearest one that numbers can express.
func known(t time.Time) time.Time {
	first, last := time.Unix(0, 0), time.Unix(0, math.MaxInt64)
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	}
	return t
}

// numbersUntil returns a number above those of all deliveries that arrived before a time;
// zero for any time.
func (a *DB) numbersUntil(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return (known(t).UnixMilli() + a.lag.Load() + 1) << 16
}

// List returns up to limit deliveries below a number, newest first, and whether there are
// more.
func (a *DB) List(ctx context.Context, f Filter, before int64, limit int) (page []Row, more bool, err error) {
	before = min(before, a.numbersUntil(f.Until))
	for n := maxRead; n == maxRead; {
		n = 0
		q := f.query(before)
		for scan := range a.read(ctx, q.String(), q.args...) {
			r, listed, err := decode(scan, f.Only)
			switch {
			case err != nil:
				return nil, false, err
			case listed && len(page) == limit:
				return page, true, nil
			case listed:
				page = append(page, r)
			}
			n, before = n+1, r.Number
		}
	}
	return page, false, nil
}

// Get returns the delivery with a number, nil if there is none.
func (a *DB) Get(ctx context.Context, n int64) (*Row, error) {
	for scan := range a.read(ctx, selectRow+" WHERE n = ?", n) {
		r, _, err := decode(scan, nil)
		return &r, err
	}
	return nil, nil
}

// Body returns the body of a dead or unreadable delivery, nil of any other.
func (a *DB) Body(ctx context.Context, n int64) (body []byte, err error) {
	err = a.r.Load().QueryRowContext(ctx, "SELECT body FROM bodies WHERE n = ?", n).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return body, err
}

// decode reads a row of selectRow, and the delivery unless only leaves it out.
func decode(scan func(...any) error, only func(spacelift.RunRef, string) bool) (r Row, listed bool, err error) {
	var res Result
	var st int
	var run spacelift.RunRef
	var reason string
	var doc []byte
	if err := scan(&r.Number, &r.Index, &st, &res.Attempts, &res.ForwardedAt, &res.Error, &run.Account, &run.Stack, &run.Run, &reason, &doc); err != nil {
		return r, false, err
	}
	if only != nil && !only(run, reason) {
		return r, false, nil
	}
	if err := json.Unmarshal(doc, &r.Delivery); err != nil {
		return r, false, fmt.Errorf("delivery %d: %w", r.Number, err)
	}
	r.Outcome, res.Forwarding = statuses[st].outcome, statuses[st].forwarding
	res.apply(&r.Delivery)
	r.HasBody = r.Size > 0 && (st == dead || st == unreadable)
	return r, true, nil
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
	for scan := range a.read(ctx, query, since.UnixMilli()<<16, since.UnixNano(), MaxTraffic) {
		var t Traffic
		var st int
		var last int64
		if err := scan(&t.Account, &st, &t.Reason, &t.Count, &last); err != nil {
			return nil, err
		}
		t.Outcome, t.Last = statuses[st].outcome, time.Unix(0, last).UTC()
		all = append(all, t)
	}
	return all, nil
}

// read returns the rows of a query, once it is the reader's turn. If it fails, the scan of
// its last row returns the error.
func (a *DB) read(ctx context.Context, query string, args ...any) iter.Seq[func(...any) error] {
	return func(yield func(func(...any) error) bool) {
		err := a.opts.Turn(ctx)
		if err == nil {
			var rows *sql.Rows
			if rows, err = a.r.Load().QueryContext(ctx, query, args...); err == nil {
				defer rows.Close() //nolint:errcheck // Err returns the same error
				for rows.Next() {
					if !yield(rows.Scan) {
						return
					}
				}
				err = rows.Err()
			}
		}
		if err != nil {
			yield(func(...any) error { return err })
		}
	}
}
