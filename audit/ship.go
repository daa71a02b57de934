package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// Limits of shipping.
const (
	batchBytes = 256 << 10
	firstWait  = time.Second
	lastWait   = time.Minute
)

// Ship sends the log until ctx ends: batches of lines as they are stored, in order, each
// until send succeeds. A receiver may get a batch twice. The place up to which entries were
// sent is kept beside the log, so a restart resumes there. id identifies a batch.
func (l *Log) Ship(ctx context.Context, send func(ctx context.Context, id string, lines []byte) error) error {
	noted, err := readNote(l.o.Dir, sentName)
	if err != nil {
		return fmt.Errorf("read how much of the audit log was sent: %w; remove the file to send all of it again", err)
	}
	sent := noted.Sequence
	for failures := 0; ctx.Err() == nil; {
		more := l.wait()
		last, err := l.shipBatch(ctx, sent, send)
		var pause time.Duration
		switch {
		case err != nil && ctx.Err() == nil:
			pause = decide.Backoff(firstWait, failures, lastWait)
			failures++
			l.o.Logger.WarnContext(ctx, "audit: entries were not sent; trying again", "after", sent, "in", pause.String(), "error", err)
			more = nil
		case last > sent:
			sent, failures = last, 0
			continue
		}
		select {
		case <-ctx.Done():
		case <-more:
		case <-after(pause):
		}
	}
	return nil
}

// shipBatch sends the entries after one, and returns the last of them.
func (l *Log) shipBatch(ctx context.Context, sent int64, send func(ctx context.Context, id string, lines []byte) error) (last int64, err error) {
	lines, last, err := l.after(sent, batchBytes)
	if err != nil || len(lines) == 0 {
		return sent, err
	}
	if err := send(ctx, fmt.Sprintf("%s-%d-%d", l.o.Replica, sent+1, last), lines); err != nil {
		return sent, err
	}
	return last, writeNote(l.o.Dir, sentName, Head{Sequence: last})
}

// after returns a channel that receives after a pause; never if it is 0.
func after(pause time.Duration) <-chan time.Time {
	if pause == 0 {
		return nil
	}
	return time.After(pause)
}
