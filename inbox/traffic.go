package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

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

// Traffic counts the deliveries since a time, as far as the log reaches back, and of the
// newest MaxTraffic at most.
func (in *Inbox) Traffic(ctx context.Context, since time.Time) ([]Traffic, error) {
	if err := in.refresh(ctx); err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	all, err := in.archive.traffic(ctx, since)
	if err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	return all, nil
}

func (a *archive) traffic(ctx context.Context, since time.Time) (all []Traffic, err error) {
	if err := a.turn(ctx); err != nil {
		return nil, err
	}
	// Accepted deliveries are one, whatever their stage of forwarding, and so are ignored ones.
	const query = `SELECT account, CASE WHEN status < 4 THEN 0 WHEN status = 8 THEN 5 ELSE status END AS outcome, reason, count(*), max(received) FROM (
		SELECT account, status, reason, received FROM deliveries WHERE n >= ? AND +received >= ? ORDER BY n DESC LIMIT ?)
		GROUP BY account, outcome, reason ORDER BY account, outcome, reason`
	rows, err := a.r.Load().QueryContext(ctx, query, since.UnixMilli()<<16, since.UnixNano(), MaxTraffic)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	for rows.Next() {
		var t Traffic
		var st status
		var last int64
		if err := rows.Scan(&t.Account, &st, &t.Reason, &t.Count, &last); err != nil {
			return nil, err
		}
		t.Outcome, t.Last = statuses[st].outcome, time.Unix(0, last).UTC()
		all = append(all, t)
	}
	return all, rows.Err()
}
