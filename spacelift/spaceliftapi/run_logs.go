package spaceliftapi

import (
	"context"
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

// maxLogPages limits how far RunLogs reads. Spacelift serves logs from their
// beginning only, so RunLogs reads a whole log to get its end.
const maxLogPages = 100

// RunLogs reads the last maxBytes of a run's log of one state, given as a history
// entry. It returns ErrNotFound when the run doesn't exist, and an empty tail
// when the state has no log.
func (c *Client) RunLogs(ctx context.Context, ref spacelift.RunRef, in spacelift.Transition, maxBytes int) (spacelift.LogTail, error) {
	if err := c.own(ref); err != nil {
		return spacelift.LogTail{}, err
	}
	var tail spacelift.LogTail
	var text strings.Builder
	var next *string
	for range maxLogPages {
		log, err := c.logPage(ctx, ref, in, next)
		if err != nil {
			return spacelift.LogTail{}, fmt.Errorf("read %s log of run %s: %w", in.State, ref, err)
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

func (c *Client) logPage(ctx context.Context, ref spacelift.RunRef, in spacelift.Transition, next *string) (*operations.RunLogsStackRunLogs, error) {
	data, err := operations.RunLogs(ctx, c.api, string(ref.Stack), string(ref.Run), string(in.State), &in.StateVersion, next)
	switch {
	case err != nil:
		return nil, err
	case data.Stack == nil || data.Stack.Run == nil:
		return nil, spacelift.ErrNotFound
	}
	return data.Stack.Run.Logs, nil
}

// cut drops all but the last keep bytes.
func cut(text *strings.Builder, keep int) {
	end := text.String()[text.Len()-keep:]
	text.Reset()
	text.WriteString(end)
}
