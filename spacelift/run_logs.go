package spacelift

import (
	"context"
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/spacelift/internal/operations"
)

// maxLogPages bounds how far RunLogs reads. Spacelift serves logs from their
// beginning only, so that the end of a log costs all of it.
const maxLogPages = 100

// LogTail is the end of one state's log.
type LogTail struct {
	Text     string
	Cut      bool // the log has more before Text
	Complete bool // Text reaches the log's end, as far as it is written
	Expired  bool // Spacelift keeps logs for a while only; there is none any more
}

// RunLogs reads the last maxBytes of what a run wrote while it was in a state,
// given as a history entry. It returns ErrNotFound when there is no such run,
// and an empty tail when the state has no log.
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
		if text.Len() > 2*maxBytes { // not at every page: cutting copies
			cut(&text, maxBytes)
			tail.Cut = true
		}
		// Without a cursor that moves there is nothing further to read.
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

// cut keeps the last bytes.
func cut(text *strings.Builder, keep int) {
	end := text.String()[text.Len()-keep:]
	text.Reset()
	text.WriteString(end)
}
