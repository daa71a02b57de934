package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// lineLimit limits the lines that requests of one kind write to the log.
type lineLimit struct {
	lines *rate.Limiter
	left  atomic.Int64 // requests without a line since the last line that said so
}

func newLineLimit(perSecond rate.Limit, burst int) *lineLimit {
	return &lineLimit{lines: rate.NewLimiter(perSecond, burst)}
}

// allow reports whether a request may have a line. It counts the others, and a second after
// the first of them writes how many there were.
func (l *lineLimit) allow(ctx context.Context, log *slog.Logger, level slog.Level, others string) bool {
	if l.lines.Allow() {
		return true
	}
	if l.left.Add(1) == 1 {
		time.AfterFunc(time.Second, func() {
			log.Log(context.WithoutCancel(ctx), level, others, "count", l.left.Swap(0))
		})
	}
	return false
}
