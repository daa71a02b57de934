package spacelift

import (
	"context"
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/spacelift/internal/operations"
)

// maxLogPages limits how far RunLogs reads. Spacelift serves logs from their
// beginning only, so RunLogs reads a whole log to get its end.
const maxLogPages = 100

// LogTail is the end of one state's log.
type LogTail struct {
	Text     string
	Cut      bool // the log has more before Text
	Complete bool // Text reaches the end of the log as written so far
	Expired  bool // Spacelift keeps logs for a while only, and has deleted this one
}

// RunLogs reads the last maxBytes of a run's log of one state, given as a history
// entry. It returns ErrNotFound when the run doesn't exist, and an empty tail
// when the state has no log.
func (c *Client) RunLogs(ctx context.Context, ref RunRef, in Transition, maxBytes int) (LogTail, error) {
	if err := c.own(ref); err != nil {
		return LogTail{}, err
	}
	var tail LogTail
	var text strings.Builder
	var next *string
	for range maxLogPages {
		log, err := c.logPage(ctx, ref, in, next)
		if err != nil {
			return LogTail{}, fmt.Errorf("read %s log of run %s: %w", in.State, ref, err)
		}
		if log == nil || !log.Exists {
			tail.Complete = true
			break
		}
		tail.Expired = log.Expired
		for _, m := range log.Messages {
			text.WriteString(m.Message)
		}
		if text.Len() > 2*maxBytes { // not on every page: cutting copies
			cut(&text, maxBytes)
			tail.Cut = true
		}
		// Without a cursor that moves, there is no next page.
		if !log.HasMore || log.NextToken == nil || next != nil && *log.NextToken == *next {
			tail.Complete = !log.HasMore
			break
		}
		next = log.NextToken
	}
	if text.Len() > maxBytes {
		cut(&text, maxBytes)
		tail.Cut = true
	}
	tail.Text = strings.ToValidUTF8(text.String(), "")
	return tail, nil
}

func (c *Client) logPage(ctx context.Context, ref RunRef, in Transition, next *string) (*operations.RunLogsStackRunLogs, error) {
	data, err := operations.RunLogs(ctx, c.api, string(ref.Stack), string(ref.Run), string(in.State), &in.StateVersion, next)
	switch {
	case err != nil:
		return nil, err
	case data.Stack == nil || data.Stack.Run == nil:
		return nil, ErrNotFound
	}
	return data.Stack.Run.Logs, nil
}

// cut drops all but the last keep bytes.
func cut(text *strings.Builder, keep int) {
	end := text.String()[text.Len()-keep:]
	text.Reset()
	text.WriteString(end)
}
