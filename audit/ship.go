package audit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// Limits of shipping.
const (
	batchBytes  = 256 << 10
	shipTimeout = 15 * time.Second
	firstWait   = time.Second
	lastWait    = time.Minute
)

// Shipment says where a log is sent.
type Shipment struct {
	URL    string
	Client *http.Client

	// Sign sets the headers that prove who sent a body.
	Sign func(h http.Header, id string, at time.Time, body []byte) error
}

// Ship sends the log to an HTTP endpoint until ctx ends: batches of lines as they are
// stored, in order, each until it was answered 2xx. The endpoint may receive a batch twice.
// The place up to which entries were sent is kept beside the log, so a restart resumes
// there.
func (l *Log) Ship(ctx context.Context, to Shipment) error {
	noted, err := readNote(l.o.Dir, sentName)
	if err != nil {
		return fmt.Errorf("read how much of the audit log was sent: %w; remove the file to send all of it again", err)
	}
	sent := noted.Sequence
	for failures := 0; ; {
		more := l.wait()
		lines, last, err := l.after(sent, batchBytes)
		if err == nil && len(lines) > 0 {
			if err = to.post(ctx, l.o.Replica, sent+1, last, lines); err == nil {
				err = writeNote(l.o.Dir, sentName, Head{Sequence: last})
			}
		}
		pause := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			pause = decide.Backoff(firstWait, failures, lastWait)
			failures++
			l.o.Logger.WarnContext(ctx, "audit: entries were not sent; trying again", "url", to.URL, "after", sent, "in", pause.String(), "error", err)
			more = nil
		case last > sent:
			sent, failures = last, 0
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-more:
		case <-after(pause):
		}
	}
}

// after returns a channel that receives after a pause; never if it is 0.
func after(pause time.Duration) <-chan time.Time {
	if pause == 0 {
		return nil
	}
	return time.After(pause)
}

// post sends one batch.
func (s Shipment) post(ctx context.Context, replica string, first, last int64, lines []byte) error {
	ctx, cancel := context.WithTimeout(ctx, shipTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(lines))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	if err := s.Sign(req.Header, fmt.Sprintf("%s-%d-%d", replica, first, last), time.Now(), lines); err != nil {
		return err
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the endpoint answered %s", resp.Status)
	}
	return nil
}
