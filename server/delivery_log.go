package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/gantryhq/gantry/inbox/archive"
)

// linesPerSecond limits the lines of deliveries a second: of those that need attention,
// and of the others. A flood would fill a disk with its lines, and a line takes more
// processor time than reading the notification.
const linesPerSecond = 1000

// deliveryLog writes the log lines of requests to the webhook.
type deliveryLog struct {
	log              *slog.Logger
	usual, attention lineLimit
}

func newDeliveryLog(log *slog.Logger) *deliveryLog {
	limit := func() lineLimit { return lineLimit{lines: rate.NewLimiter(linesPerSecond, linesPerSecond)} }
	return &deliveryLog{log: log, usual: limit(), attention: limit()}
}

// write writes a delivery's line, or counts it for the line that says how many had none.
func (l *deliveryLog) write(ctx context.Context, level slog.Level, d archive.Delivery, more ...slog.Attr) {
	if !l.log.Enabled(ctx, level) {
		return
	}
	limit := &l.usual
	if level >= slog.LevelWarn {
		limit = &l.attention
	}
	if !limit.lines.Allow() {
		limit.leaveOut(ctx, l.log, level)
		return
	}
	attrs := [14]slog.Attr{
		slog.String("delivery", d.ID), slog.String("outcome", string(d.Outcome)), slog.String("source", d.Source),
		slog.String("account", string(d.Run.Account)), slog.String("stack", string(d.Run.Stack)), slog.String("run", string(d.Run.Run)),
		slog.String("type", string(d.Type)), slog.String("state", string(d.State)), slog.Int("stateVersion", d.StateVersion),
		slog.Int("secret", d.Secret), slog.Int("size", d.Size),
	}
	line := attrs[:11]
	if d.Reason != "" {
		line = append(line, slog.String("reason", d.Reason), slog.String("detail", d.Detail))
	}
	// Without the logger, which would look up its caller for each line.
	r := slog.NewRecord(time.Now(), level, "notification", 0)
	r.AddAttrs(append(line, more...)...)
	_ = l.log.Handler().Handle(ctx, r) // a logger ignores errors as well
}

// lineLimit limits the lines of a kind.
type lineLimit struct {
	lines *rate.Limiter
	left  atomic.Int64 // deliveries without a line since the last line that said so
}

// leaveOut counts a delivery without a line. The first has a line written a second later.
func (l *lineLimit) leaveOut(ctx context.Context, log *slog.Logger, level slog.Level) {
	if l.left.Add(1) == 1 {
		time.AfterFunc(time.Second, func() {
			log.Log(context.WithoutCancel(ctx), level, "notifications without a line of their own", "count", l.left.Swap(0))
		})
	}
}
