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
	done, err := a.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	const query = `SELECT account, status, reason, count(*), max(received) FROM (
		SELECT account, status, reason, received FROM deliveries WHERE n >= ? AND +received >= ? ORDER BY n DESC LIMIT ?)
		GROUP BY account, status, reason ORDER BY account, status, reason`
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
		if n := len(all) - 1; n >= 0 && all[n].Account == t.Account && all[n].Outcome == t.Outcome && all[n].Reason == t.Reason {
			all[n].Count += t.Count // of another stage of forwarding
			if t.Last.After(all[n].Last) {
				all[n].Last = t.Last
			}
			continue
		}
		all = append(all, t)
	}
	return all, rows.Err()
}
