package schedules

import (
	"context"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
)

// Readers follow the event stream of one replica for a while, all of the same one, then of
// none, then of the other one: a replica reads Temporal for its streams as long as it has
// any, which costs as much for one as for all. Every third time they stay away for longer
// than a replica looks back without being asked to.
const (
	turnAtReplica = 9 * time.Second
	turnAtNone    = 3 * time.Second
	turnAway      = 14 * time.Second
	turns         = 3
)

// turn returns which replica's stream the readers follow at a time, or a negative number
// for none, and until when.
func (b *Batch) turn(now time.Time) (replica int, until time.Time) {
	until = b.begin
	for n := 0; ; n++ {
		if until = until.Add(turnAtReplica); now.Before(until) {
			return n % len(b.Replicas), until
		}
		away := turnAtNone
		if n%turns == turns-1 {
			away = turnAway
		}
		if until = until.Add(away); now.Before(until) {
			return -1, until
		}
	}
}

// readStreams has people follow the event stream until the readers leave.
func (b *Batch) readStreams(ctx context.Context) {
	for _, who := range script.Readers {
		b.stay(ctx, func(ctx context.Context) { b.Client.NewReader(who, "").FollowAround(ctx, b.turn) })
	}
}

// longestStream is for how long somebody with a session follows a stream: longer than it
// may last after the session's end.
const longestStream = 50 * time.Second

// follow has somebody with a session follow the event stream, in the background.
func (b *Batch) follow(ctx context.Context, ask rig.Ask) {
	replica, _ := b.turn(time.Now())
	b.stay(ctx, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, longestStream)
		defer cancel()
		b.Client.NewReader(ask.Who, ask.Session).Follow(ctx, max(0, replica))
	})
}

// stay runs a reader until all of them leave.
func (b *Batch) stay(ctx context.Context, read func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	b.readers.Go(func() {
		defer cancel()
		read(ctx)
	})
	go func() {
		defer cancel()
		select {
		case <-b.leave:
		case <-ctx.Done():
		}
	}()
}
