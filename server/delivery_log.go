package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/gantryhq/gantry/inbox/archive"
)

// linesPerSecond limits the lines of deliveries a second: of those that need attention,
// and of the others. A flood would fill a disk with its lines, and a line takes more
// processor time than reading the notification.
const linesPerSecond = 1000

// deliveryLog writes the log lines of requests to the webhook.
type deliveryLog struct {
	log              *slog.Logger
	usual, attention *lineLimit
}

func newDeliveryLog(log *slog.Logger) *deliveryLog {
	return &deliveryLog{log: log, usual: newLineLimit(linesPerSecond, linesPerSecond), attention: newLineLimit(linesPerSecond, linesPerSecond)}
}

// write writes a delivery's line, or counts it for the line that says how many had none.
func (l *deliveryLog) write(ctx context.Context, level slog.Level, d archive.Delivery, more ...slog.Attr) {
	if !l.log.Enabled(ctx, level) {
		return
	}
	limit := l.usual
	if level >= slog.LevelWarn {
		limit = l.attention
	}
	if !limit.allow(ctx, l.log, level, "notifications without a line of their own") {
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
