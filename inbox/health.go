package inbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/folder"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// Health is the state of the inbox and of its forwarder.
type Health struct {
	// Writable is true while events can be accepted.
	Writable bool
	// Problem is the reason why they can't, or the damage whose files still exist; empty
	// without either.
	Problem string

	Pending       int // accepted, but not forwarded yet
	OldestPending time.Time
	Dead          int
	Damage        []Damage

	// Unreadable sums up the deliveries that LogUnreadable keeps.
	Unreadable map[spacelift.Account]archive.Unreadable

	// Delayed has the accounts with so many new runs that these wait, and since when. Their
	// other runs, and those of other accounts, don't wait.
	Delayed map[spacelift.Account]time.Time

	ForwarderDown    bool // no signal succeeded for a while, although some were tried
	ForwarderSince   time.Time
	LastForwardError string // the last one, even after Temporal has recovered
}

// Damage is a damaged file that was put aside, as long as it exists.
type Damage struct {
	File  string
	What  string // a clause
	Since time.Time
}

// Health returns the inbox's health.
func (in *Inbox) Health() Health {
	at := in.oldestPending()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.damage = slices.DeleteFunc(in.damage, func(d Damage) bool {
		_, err := os.Stat(d.File)
		return errors.Is(err, fs.ErrNotExist)
	})
	down := in.down(time.Now())
	h := Health{
		Writable: in.unavailable() == nil, Pending: in.pending, OldestPending: at,
		Dead: in.archive.Dead(), Unreadable: in.archive.Unreadable(), Damage: slices.Clone(in.damage),
		ForwarderDown: down, LastForwardError: in.lastError, Delayed: in.queue.Delayed(),
	}
	if down {
		h.ForwarderSince = in.failing
	}
	switch {
	case in.closed:
		h.Problem = "the inbox is closing"
	case in.problem != nil:
		h.Problem = fmt.Sprintf("cannot write since %s: %v", in.since.UTC().Format(time.RFC3339), in.problem)
	case !h.Writable:
		h.Problem = fmt.Sprintf("the disk is full: %v", in.records.NoSpare())
	case len(in.damage) > 0:
		for _, d := range in.damage {
			h.Problem = strings.TrimPrefix(h.Problem+"; "+d.What, "; ")
		}
	}
	return h
}

// oldestPending returns when the oldest pending event arrived.
func (in *Inbox) oldestPending() time.Time {
	idx, ok := in.records.NextPending(0)
	if !ok {
		return time.Time{}
	}
	rec, _ := in.records.Read(idx)
	e, _ := readEvent(rec) // an unreadable one has no time
	return e.ReceivedAt
}

// report notes damage.
func (in *Inbox) report(file, what string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.damage = append(in.damage, Damage{file, what, folder.PutAside(file)})
	in.log.Error("inbox: damage was found", "damage", what)
}
