package temporalserver

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
)

// serverLog is Temporal's logger. It passes errors to slog and drops the rest.
//
// Temporal ends the process when it logs at level fatal. Here that would end the
// lab, or a package's tests. So Fatal ends only its goroutine, which keeps the
// promise not to return, and reports the failure to Start.
type serverLog struct {
	slog  *slog.Logger
	state *logState
}

// logState is shared by a server's loggers.
type logState struct {
	muted atomic.Bool
	fatal atomic.Pointer[error]

	failed chan struct{} // closed when fatal is set
}

var (
	_ log.Logger     = (*serverLog)(nil)
	_ log.WithLogger = (*serverLog)(nil)
)

func newServerLog(l *slog.Logger) *serverLog {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &serverLog{slog: l.With("component", "temporal"), state: &logState{failed: make(chan struct{})}}
}

// mute drops all later messages.
func (l *serverLog) mute() { l.state.muted.Store(true) }

// fatal returns the first message logged at level fatal, or nil.
func (l *serverLog) fatal() error {
	if err := l.state.fatal.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *serverLog) With(tags ...tag.Tag) log.Logger {
	return &serverLog{slog: l.slog.With(attrs(tags)...), state: l.state}
}

func (*serverLog) Debug(string, ...tag.Tag) {}
func (*serverLog) Info(string, ...tag.Tag)  {}
func (*serverLog) Warn(string, ...tag.Tag)  {}

// shardNotReady is the error that Temporal's queues log when they read their shard
// while it is being acquired, which takes longer on a slow machine. They retry
// immediately (service/history/shard, ErrShardStatusUnknown).
const shardNotReady = "shard status unknown"

func (l *serverLog) Error(msg string, tags ...tag.Tag) {
	if l.state.muted.Load() {
		return
	}
	for _, t := range tags {
		if cause, ok := causeOf(t); ok && cause.Error() == shardNotReady {
			return
		}
	}
	l.slog.Error(msg, attrs(tags)...)
}

func (l *serverLog) DPanic(msg string, tags ...tag.Tag) { l.Error(msg, tags...) }

func (l *serverLog) Panic(msg string, tags ...tag.Tag) {
	l.Error(msg, tags...)
	panic(msg)
}

func (l *serverLog) Fatal(msg string, tags ...tag.Tag) {
	l.Error(msg, tags...)
	err := errors.New(msg)
	for _, t := range tags {
		if cause, ok := causeOf(t); ok {
			err = fmt.Errorf("%s: %w", msg, cause)
		}
	}
	if l.state.fatal.CompareAndSwap(nil, &err) {
		close(l.state.failed)
	}
	runtime.Goexit()
}

func causeOf(t tag.Tag) (error, bool) {
	field, ok := t.(tag.ZapTag)
	if !ok {
		return nil, false
	}
	err, ok := field.Field().Interface.(error)
	return err, ok
}

func attrs(tags []tag.Tag) []any {
	all := make([]any, len(tags))
	for i, t := range tags {
		all[i] = slog.Any(t.Key(), t.Value())
	}
	return all
}
