package server

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

// The pace and the memory of a hub.
const (
	hubInterval      = time.Second / 2  // between its readings of Temporal
	hubSlowest       = 10 * time.Second // the same while Temporal doesn't answer
	accountsInterval = 30 * time.Second // between its readings of the accounts' health

	// hubOverlap is the time after which a change is visible: its own time is that of the
	// workflow task, and the visibility store is written after it.
	hubOverlap = 10 * time.Second

	// hubSkew is the time by which this replica's clock may differ from Temporal's, whose
	// times changes have: gantry doctor fails beyond it.
	hubSkew = 5 * time.Minute

	hubMemory  = time.Hour // for clients that come back
	hubEntries = 5000
)

// hub reads what changes in Temporal for all event streams of this replica, while there
// are any. It keeps the newest form of what changed lately, so that clients that come back
// need no reading of their own.
type hub struct {
	h         *handlers
	extending sync.Mutex // serializes readings of the past

	mu        sync.Mutex
	listeners map[*listener]bool
	entries   map[string]entry   // by workflow id, or name of an account
	from      string             // everything that changed since then is an entry
	cursor    string             // the newest change
	fresh     bool               // nothing was read since somebody listens again: what is found first may be old
	stop      context.CancelFunc // ends the readings; nil while nobody listens

	watched map[string]*watched // by workflow id

	waiting waitingRuns
	began   time.Time     // when the last reading began that succeeded
	has     int           // the changes of this replica's before that
	changes int           // of this replica's
	failing bool          // the last reading did not succeed
	next    chan struct{} // closed once the next reading has ended
	wake    chan struct{} // has the hub read now
}

// entry is the newest form of a run, a chain or an account. Its times are those of
// managed.ListedTime.
type entry struct {
	changed string
	version string // differs between forms that changed at the same time

	run     *listedRun
	chain   *api.ChainSummary
	account *api.Account
}

// listener is an event stream. The hub names what it has to send.
type listener struct {
	since   string // what changed before is none of its events, if the hub finds it first
	signal  chan struct{}
	pending map[string]bool // guarded by hub.mu
	missed  bool            // events; guarded by hub.mu

	watches  string // the workflow id of the execution that it follows in detail; empty for none
	progress bool   // of that execution; guarded by hub.mu
}

func newHub(h *handlers) *hub {
	return &hub{h: h, listeners: map[*listener]bool{}, entries: map[string]entry{}, watched: map[string]*watched{}, next: make(chan struct{}), wake: make(chan struct{}, 1)}
}

func earlier(t string, by time.Duration) string {
	return managed.ListedTime(managed.ParseListedTime(t).Add(-by))
}

// listen adds a listener for what changes from now on, and for what changed since the
// last event that its client received; empty for none. It also listens for any news of the
// execution that it watches; empty for none. It reports whether it can: too much may have
// changed since, or Temporal doesn't answer.
func (b *hub) listen(ctx context.Context, last, watches string) (l *listener, complete bool) {
	now := time.Now()
	l = &listener{since: earlier(managed.ListedTime(now), hubOverlap), signal: make(chan struct{}, 1), pending: map[string]bool{}, watches: watches}
	b.mu.Lock()
	b.listeners[l] = true
	b.watch(l)
	if b.stop == nil {
		if b.cursor < earlier(managed.ListedTime(now), hubMemory) {
			clear(b.entries)
			b.cursor = earlier(managed.ListedTime(now), hubSkew)
			b.from = earlier(b.cursor, hubOverlap)
		}
		b.fresh = true
		var reading context.Context
		reading, b.stop = context.WithCancel(context.WithoutCancel(ctx))
		b.failing = false
		go b.run(reading)
		go b.describe(reading)
	}
	b.mu.Unlock()
	if last == "" {
		return l, true
	}
	at := managed.ParseListedTime(last)
	if at.IsZero() || now.Sub(at) > hubMemory {
		return l, false
	}
	since := earlier(last, hubOverlap)
	// The entries may be older than what the client received from another replica.
	if !b.awaitReading(ctx, now) || !b.extend(ctx, since) {
		return l, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l.since = min(l.since, since)
	for id, e := range b.entries {
		if e.changed >= l.since {
			l.pending[id] = true
		}
	}
	l.wake()
	return l, true
}

// awaitReading waits for a reading that began after a time. It reports whether there was
// one: there is none while Temporal doesn't answer.
func (b *hub) awaitReading(ctx context.Context, after time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.failing && ctx.Err() == nil {
		if !b.began.Before(after) {
			return true
		}
		b.awaitNext(ctx)
	}
	return false
}

// awaitNext waits for the next reading. Called with mu held, which it gives up meanwhile.
func (b *hub) awaitNext(ctx context.Context) {
	next := b.next
	b.mu.Unlock()
	select {
	case <-next:
	case <-ctx.Done():
	}
	b.mu.Lock()
}

// leave removes a listener.
func (b *hub) leave(l *listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unwatch(l)
	if delete(b.listeners, l); len(b.listeners) == 0 {
		b.stop()
		b.stop, b.waiting = nil, waitingRuns{}
		b.readEnded()
	}
}

// readEnded continues those who wait for a reading. Called with mu held.
func (b *hub) readEnded() {
	close(b.next)
	b.next = make(chan struct{})
}

// take returns what a listener has to send, oldest change first, whether it missed
// anything before that, and the stack of the execution that it watches; empty unless
// something has happened there.
func (b *hub) take(l *listener) (all []entry, missed bool, progress spacelift.StackID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range l.pending {
		if e, ok := b.entries[id]; ok {
			all = append(all, e)
		}
	}
	clear(l.pending)
	slices.SortFunc(all, func(a, c entry) int { return strings.Compare(a.changed, c.changed) })
	missed, l.missed = l.missed, false
	if w := b.watched[l.watches]; w != nil && l.progress {
		l.progress, progress = false, w.stack
	}
	return all, missed, progress
}

func (l *listener) wake() {
	select {
	case l.signal <- struct{}{}:
	default: // it is awake
	}
}

// run reads until nobody listens.
func (b *hub) run(ctx context.Context) {
	wait, accounts := hubInterval, time.Time{}
	for ctx.Err() == nil {
		if b.readRuns(ctx) {
			wait = hubInterval
		} else {
			wait = min(2*wait, hubSlowest) // nothing is lost: the next reading begins at the same time
		}
		if time.Since(accounts) >= accountsInterval {
			accounts = time.Now()
			go b.readAccounts(ctx) // lists may wait for the next reading of runs
		}
		select {
		case <-ctx.Done():
		case <-b.wake:
		case <-time.After(wait):
		}
	}
}

// readRuns reads what has changed, and from time to time all runs that wait. It reports
// whether Temporal answered.
func (b *hub) readRuns(ctx context.Context) bool {
	b.mu.Lock()
	began, has := time.Now(), b.changes
	b.mu.Unlock()
	err := b.readChanges(ctx)
	b.mu.Lock()
	due := began.Sub(b.waiting.read) >= waitingInterval
	b.mu.Unlock()
	if err == nil && due {
		err = b.readWaiting(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	if b.failing = err != nil; err != nil {
		b.h.log.DebugContext(ctx, "events can't be read", "error", err)
	} else {
		b.began, b.has = began, has
	}
	b.readEnded()
	return err == nil
}

func (b *hub) readChanges(ctx context.Context) error {
	b.mu.Lock()
	since := earlier(b.cursor, hubOverlap)
	b.mu.Unlock()
	changed, complete, err := b.read(ctx, since)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.waiting.take(changed)
	b.keep(changed, true)
	b.fresh = false
	if !complete { // more changed within seconds than it can know
		b.waiting = waitingRuns{}
		b.from = managed.ListedTime(time.Now())
		for l := range b.listeners {
			l.missed = true
			l.wake()
		}
	}
	return nil
}

// keep takes entries, and with news has the listeners send those that are new. Called with
// mu held.
func (b *hub) keep(changed map[string]entry, news bool) {
	for id, e := range changed {
		was, known := b.entries[id]
		if known && (e.changed < was.changed || e.changed == was.changed && e.version == was.version) {
			continue
		}
		b.entries[id] = e
		if e.account == nil { // whose times are those of this replica
			b.cursor = max(b.cursor, e.changed)
		}
		if !news {
			continue
		}
		b.h.recent.forget() // before anyone can ask because of the news
		for l := range b.listeners {
			if !b.fresh || e.changed >= l.since {
				l.pending[id] = true
				l.wake()
			}
		}
	}
	if len(b.entries) <= hubEntries {
		return
	}
	ids := slices.SortedFunc(maps.Keys(b.entries), func(a, c string) int { return strings.Compare(b.entries[a].changed, b.entries[c].changed) })
	for _, id := range ids[:len(ids)-hubEntries] {
		b.from = max(b.from, earlier(b.entries[id].changed, -time.Microsecond))
		delete(b.entries, id)
	}
}

// extend makes sure that everything that changed since a time is an entry. It reports
// whether it is.
func (b *hub) extend(ctx context.Context, since string) bool {
	b.extending.Lock()
	defer b.extending.Unlock()
	b.mu.Lock()
	known := b.from <= since
	b.mu.Unlock()
	if known {
		return true
	}
	changed, complete, err := b.read(ctx, since)
	if err != nil || !complete {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from = since
	b.keep(changed, false)
	return b.from <= since
}

// read returns the runs and chains that changed since a time, unless they are too many.
func (b *hub) read(ctx context.Context, since string) (changed map[string]entry, complete bool, err error) {
	query := search{workflowTypes: []string{managed.ManageRunType, chain.Type}, accounts: b.h.served(), filters: []filter{
		{attribute: managed.AttrChanged, operator: ">=", value: since, begun: managed.ParseListedTime(since)},
	}}
	text, err := query.query()
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	changed = map[string]entry{}
	var token []byte
	for {
		page, err := b.h.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: maxTemporalPage, NextPageToken: token, Query: text})
		if err != nil {
			return nil, false, err
		}
		for _, e := range page.GetExecutions() {
			id := e.GetExecution().GetWorkflowId()
			next := entry{changed: changedAt(e), version: e.GetExecution().GetRunId() + e.GetStatus().String()}
			if run, err := listedRunOf(e); err == nil {
				next.run = run
			} else if c, err := toAPIChainSummary(e); err == nil {
				next.chain = &c
			} else {
				continue // an execution that isn't Gantry's
			}
			if was, twice := changed[id]; !twice || was.changed < next.changed {
				changed[id] = next
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 || len(changed) >= hubEntries {
			return changed, len(token) == 0, nil
		}
	}
}

// readAccounts takes the health of the accounts as entries. Only findings and the webhook
// count: Reconcile reports anew every few minutes.
func (b *hub) readAccounts(ctx context.Context) {
	now := time.Now()
	changed := map[string]entry{}
	for name, k := range b.h.recentKnowledge(ctx) {
		account := toAPIAccount(name, k.report, b.h.findings(name, k, now))
		version, err := json.Marshal([]any{account.Findings, account.Webhook})
		if err == nil {
			changed[string(name)] = entry{changed: managed.ListedTime(now), version: digest(version), account: &account}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, e := range changed {
		was, known := b.entries[name]
		if known && was.version == e.version {
			delete(changed, name)
		} else if !known { // this replica didn't look before
			b.entries[name] = e
			delete(changed, name)
		}
	}
	b.keep(changed, true)
}

// id returns the id of the event that shows an entry.
func (e entry) id(of string) string { return e.changed + "-" + digest([]byte(of))[:8] }

// timeOfEvent returns the time in the id of an event; empty if it has none.
func timeOfEvent(id string) string {
	at, _, _ := strings.Cut(id, "-")
	if managed.ParseListedTime(at).IsZero() {
		return ""
	}
	return at
}

func (e entry) stack() (account spacelift.Account, stack spacelift.StackID) {
	switch {
	case e.run != nil:
		return e.run.ref.Account, e.run.ref.Stack
	case e.chain != nil:
		return spacelift.Account(e.chain.Account), spacelift.StackID(e.chain.Stack)
	}
	return spacelift.Account(e.account.Name), ""
}
