package inbox

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

const (
	chunk = 4000 // records of one transaction

	// The archive costs more processor time than accepting. While more events
	// arrive than its pace allows, it lags and catches up later.
	archivePace = 2000 // records a second
	maxPace     = 4000 // after a pause
	everything  = math.MaxInt

	busyRate = 1000 // events a second
)

// pace returns how many records the archive may take now.
func (in *Inbox) pace() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := time.Now()
	if in.paced.IsZero() {
		in.allowed = maxPace
	} else {
		in.allowed = min(maxPace, in.allowed+archivePace*now.Sub(in.paced).Seconds())
	}
	in.paced = now
	return max(1, int(in.allowed))
}

// syncArchive brings the archive up to date with the log, the marks and the
// deliveries that were not accepted, for at most limit records. What is not
// written is kept for the next time, up to a limit.
func (in *Inbox) syncArchive(ctx context.Context, limit int) (err error) {
	a := in.archive
	a.mu.Lock()
	defer a.mu.Unlock()
	in.mu.Lock()
	next, what, catchUp := in.next, in.news, in.catchUp
	if next == a.through+1 && len(what.marks) == 0 && len(what.entries) == 0 {
		in.mu.Unlock()
		return nil
	}
	in.news = news{marks: make(map[int64]mark)}
	in.mu.Unlock()
	for first := true; err == nil && (first || a.through+1 < next && limit > 0); first = false {
		n, before := min(limit, chunk), a.through
		limit -= n
		err = a.follow(ctx, in, next, n, catchUp, &what)
		in.mu.Lock()
		in.allowed -= float64(min(uint64(n), a.through-before))
		in.mu.Unlock()
	}
	if damaged(err) {
		err = in.replaceArchive(ctx, err)
	}
	in.keepNews(what)
	return err
}

// settle corrects the archive once it has all of the log.
func (in *Inbox) settle(ctx context.Context) error {
	a := in.archive
	a.mu.Lock()
	defer a.mu.Unlock()
	in.mu.Lock()
	wanted := in.unsettled && a.through+1 >= in.next
	in.unsettled = in.unsettled && !wanted
	in.mu.Unlock()
	if !wanted {
		return nil
	}
	return a.settle(ctx, in.isPending)
}

// keepNews puts back what the archive could not take.
func (in *Inbox) keepNews(what news) {
	in.mu.Lock()
	defer in.mu.Unlock()
	newer := in.news
	in.news.marks = what.marks
	maps.Copy(in.news.marks, newer.marks)
	in.news.entries = append(what.entries, newer.entries...)
	in.news.bytes = what.bytes + newer.bytes
	if n := len(in.news.entries) - maxNotes; n > 0 {
		in.news.entries = slices.Delete(in.news.entries, 0, n)
		in.metrics.logDropped.Add(float64(n))
	}
}

// replaceArchive starts a new archive in place of a damaged one. Called with the
// archive's mu held.
func (in *Inbox) replaceArchive(ctx context.Context, cause error) error {
	a := in.archive
	_ = a.close()
	to, err := a.moveAside()
	if err != nil {
		return err
	}
	fresh, err := openArchive(ctx, in.opts)
	if err != nil {
		return err
	}
	a.w, a.through, a.changed = fresh.w, 0, true
	a.r.Store(fresh.r.Load())
	in.mu.Lock()
	defer in.mu.Unlock()
	in.catchUp, in.unsettled = in.next, true
	in.report(fmt.Sprintf("the archive is damaged (%v); a new one was started, and the damaged file is %s", cause, to))
	return nil
}

// report notes damage. Called with mu held.
func (in *Inbox) report(damage string) {
	in.damage = append(in.damage, damage)
	in.log.Error("inbox: damage was found", "damage", damage)
}

// trimArchive applies the budgets, at most every few seconds.
func (in *Inbox) trimArchive(ctx context.Context, now bool) {
	a := in.archive
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.changed || !now && time.Since(a.trimmed) < 5*time.Second {
		return
	}
	a.trimmed = time.Now()
	dead, err := a.trim(ctx)
	if err != nil {
		in.log.Warn("inbox: cannot trim the archive", "error", err)
		return
	}
	a.changed = false
	kept, err := a.count(ctx, statusUnreadable)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dead -= len(dead)
	if err == nil && len(in.news.entries) == 0 {
		in.kept = kept
	}
	for _, id := range dead {
		in.metrics.deadExpired.Inc()
		in.log.Error("inbox: too many dead deliveries; the oldest was deleted", "delivery", id)
	}
}

// latency returns the time from an event's arrival to its answer; 0 if it is not
// known. Events are asked for in order.
func (in *Inbox) latency(idx uint64, received time.Time) time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := 0
	for n < len(in.ends) && in.ends[n].last < idx {
		n++
	}
	if in.ends = in.ends[n:]; len(in.ends) == 0 {
		return 0
	}
	return max(0, in.ends[0].at.Sub(received))
}
