package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

// How often a list is read that is shown for long. Tests shorten them.
var (
	pollPause   = 2 * time.Second        // where no events come
	streamPause = 30 * time.Second       // before a stream that Gantry refused is asked for again
	settlePause = 300 * time.Millisecond // after an event, in case more follow
)

// Kinds of events that change a list.
const (
	runEvents     = "run"
	chainEvents   = "chain"
	accountEvents = "account"
	noEvents      = "" // the list is polled
)

// changes reports when a list may have changed: after an event of a kind, when the stream
// of events was lost and when it is back, and at intervals where Gantry has no stream for
// the list or refuses it. It ends with ctx.
func (s *session) changes(ctx context.Context, kind string, p api.StreamEventsParams) <-chan struct{} {
	news := &settled{news: make(chan struct{}, 1), pause: settlePause}
	poll, refused := pollPause, streamPause // the goroutine may outlive the command
	stream := s.With(gantry.WithPatience(0), gantry.WithRetryNotice(func(error, time.Duration) { news.report() }))
	go func() {
		for ctx.Err() == nil {
			if kind != noEvents {
				for e, err := range stream.Events(ctx, &p) {
					if err == nil && (e.Kind == kind || e.Kind == "ready" || e.Kind == "reset") {
						news.report()
					}
				}
			}
			for until := time.Now().Add(refused); time.Now().Before(until) && pause(ctx, poll) == nil; {
				news.report()
			}
		}
	}()
	return news.news
}

// settled makes one report of those that follow each other closely.
type settled struct {
	news     chan struct{}
	pause    time.Duration
	settling atomic.Bool
}

func (s *settled) report() {
	if s.settling.Swap(true) {
		return
	}
	time.AfterFunc(s.pause, func() {
		s.settling.Store(false)
		select {
		case s.news <- struct{}{}:
		default: // the list is read anyway
		}
	})
}
