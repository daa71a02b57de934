package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"github.com/gantryhq/gantry/spacelift"
)

// Unreadable sums up the unreadable deliveries of an account: the ignored ones that have
// their bodies.
type Unreadable struct {
	Count  int
	First  time.Time // when the oldest arrived
	Newest Delivery
}

// Unreadable returns the unreadable deliveries by account. Callers must not change it.
func (a *DB) Unreadable() map[spacelift.Account]Unreadable { return *a.unreadable.Load() }

// SetRead makes an unreadable delivery one of the other ignored ones, because its body was
// read after all. The next Trim deletes the body.
func (a *DB) SetRead(ctx context.Context, n int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.w.ExecContext(ctx, "UPDATE deliveries SET status = ? WHERE n = ? AND status = ?", statusOf(OutcomeIgnored, ""), n, unreadable)
	a.changed = true
	return errors.Join(err, a.countUnreadable(ctx))
}

// countUnreadable updates what Unreadable returns.
func (a *DB) countUnreadable(ctx context.Context) error {
	const query = `SELECT account, kept, first, doc FROM deliveries JOIN (
		SELECT count(*) AS kept, min(received) AS first, max(n) AS newest FROM deliveries WHERE status = ? GROUP BY account) ON n = newest`
	rows, err := a.w.QueryContext(ctx, query, unreadable)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	found := map[spacelift.Account]Unreadable{}
	for rows.Next() {
		var account spacelift.Account
		var u Unreadable
		var first int64
		var doc []byte
		if err := rows.Scan(&account, &u.Count, &first, &doc); err != nil {
			return err
		}
		if err := json.Unmarshal(doc, &u.Newest); err != nil {
			return fmt.Errorf("newest unreadable delivery of account %s: %w", account, err)
		}
		u.First = time.Unix(0, first).UTC()
		found[account] = u
	}
	a.unreadable.Store(&found)
	return rows.Err()
}
