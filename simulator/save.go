package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/gantryhq/gantry/spacelift"
)

// Save writes the account as it is now, for Restore: the configuration with its
// secrets, all runs, what is due and when, what is still to be sent, and the
// newest 1,000 entries of each log. Two snapshots between which nothing
// happened are the same, byte for byte. It may be called after Close, too.
func (s *Simulator) Save(w io.Writer) error {
	s.mu.Lock()
	shot := s.snapshot()
	s.mu.Unlock()
	if err := json.NewEncoder(w).Encode(shot); err != nil {
		return fmt.Errorf("save account %s: %w", s.opts.Account, err)
	}
	return nil
}

// snapshot copies what may change once the lock is released; histories, logs
// and plans only grow or are replaced.
func (s *Simulator) snapshot() *snapshot {
	random, err := s.source.MarshalBinary()
	if err != nil {
		panic(err) // it has no errors
	}
	shot := &snapshot{
		Format: snapshotFormat, Version: snapshotVersion, Account: s.opts.Account, Random: random, Tokens: s.tokenKey,
		Outside: maps.Clone(s.external), Inbox: slices.Clone(newest(s.inbox)),
		Faults: savedFaults{Count: s.faultCount, Deliveries: saveFaults(s.deliveryFaults), API: saveFaults(s.apiFaults)},
	}
	for _, sp := range s.sortedSpaces() {
		shot.Spaces = append(shot.Spaces, sp.Space)
	}
	for _, id := range sortedKeys(s.pools) {
		shot.Pools = append(shot.Pools, s.pools[id])
	}
	for _, id := range sortedKeys(s.keys) {
		shot.Keys = append(shot.Keys, savedKey{s.keys[id], s.keys[id].Secret})
	}
	places := map[*health]string{}
	for i, st := range s.everyStack() {
		shot.Stacks = append(shot.Stacks, st.saved())
		for j, w := range st.webhooks {
			places[&w.health] = stackHookPlace(i, j)
		}
	}
	for i, w := range s.webhooks {
		shot.Hooks = append(shot.Hooks, savedNamedHook{
			NamedWebhook: w.NamedWebhook, Secret: w.Secret, Headers: maps.Clone(w.Headers), Failures: w.failures, CreatedAt: w.createdAt,
		})
		places[&w.health] = namedHookPlace(i)
	}
	for _, d := range s.dependencies {
		edge := savedEdge{ID: d.id, Stack: d.stack, On: d.on, TriggerAlways: d.triggerAlways}
		for _, ref := range d.references {
			edge.References = append(edge.References, *ref)
		}
		shot.Edges = append(shot.Edges, edge)
	}
	for _, p := range s.policies {
		rule := savedPolicy{Policy: p.Policy, CreatedAt: p.createdAt, UpdatedAt: p.updatedAt}
		for _, sample := range p.samples {
			rule.Samples = append(rule.Samples, savedSample{sample.key, sample.outcome, sample.input, sample.body, sample.at})
		}
		shot.Rules = append(shot.Rules, rule)
	}
	for _, a := range s.attachments {
		shot.Bonds = append(shot.Bonds, savedAttachment{a.id, a.policy.ID, a.stack})
	}
	for _, c := range s.contexts {
		shot.Bundles = append(shot.Bundles, savedContext{
			Context: c.Context, Elements: savedConfigs(c.config), CreatedAt: c.createdAt, UpdatedAt: c.updatedAt,
		})
	}
	for _, a := range s.contextBonds {
		shot.Shares = append(shot.Shares, savedShare{a.id, a.context.ID, a.stack, a.priority})
	}
	for _, t := range s.sortedTimers() {
		shot.Timers = append(shot.Timers, t.saved())
	}
	for _, r := range newest(s.requests) {
		shot.Seen = append(shot.Seen, *r)
	}
	s.saveDeliveries(shot, places)
	return shot
}

// everyStack is the account's stacks in their order, then those that are deleted
// but have runs.
func (s *Simulator) everyStack() []*stack {
	var all, gone []*stack
	for _, id := range s.order {
		all = append(all, s.stacks[id])
	}
	seen := map[*stack]bool{}
	for _, id := range slices.Sorted(maps.Keys(s.runs)) {
		if st := s.runs[id].stack; st.deleted && !seen[st] {
			seen[st] = true
			gone = append(gone, st)
		}
	}
	slices.SortStableFunc(gone, func(a, b *stack) int { return a.createdAt.Compare(b.createdAt) })
	return append(all, gone...)
}

func stackHookPlace(stack, webhook int) string {
	return "/stacks/" + strconv.Itoa(stack) + "/webhooks/" + strconv.Itoa(webhook)
}

func namedHookPlace(webhook int) string { return "/webhooks/" + strconv.Itoa(webhook) }

func newest[T any](log []T) []T { return log[max(0, len(log)-snapshotLog):] }

func runIDs(runs []*run) []spacelift.RunID {
	var ids []spacelift.RunID
	for _, r := range runs {
		ids = append(ids, r.id)
	}
	return ids
}

func (st *stack) saved() savedStack {
	saved := savedStack{
		Stack: st.Stack, ManagesState: st.managesState, CreatedAt: st.createdAt, State: st.state, StateAt: st.stateAt,
		Outputs: maps.Clone(st.outputs), NextPlans: slices.Clone(st.nextPlans), Tracked: st.tracked, TrackedSetBy: st.trackedSetBy,
		LockedBy: st.lockedBy, LockedAt: st.lockedAt, LockNote: st.lockNote,
		Disabled: st.disabled, Deleting: st.deleting, Deleted: st.deleted, Waiting: runIDs(st.waiting),
	}
	if !reflect.DeepEqual(st.settings, defaultSettings()) {
		saved.Settings = new(st.settings)
	}
	if st.blocker != nil {
		saved.Blocker = st.blocker.id
	}
	saved.Config = savedConfigs(st.config)
	for _, w := range st.webhooks {
		saved.Webhooks = append(saved.Webhooks, savedHook{w.StackWebhook, w.Secret, w.failures})
	}
	for _, r := range st.runs {
		saved.Runs = append(saved.Runs, r.saved())
	}
	return saved
}

func savedConfigs(config []configElement) []savedConfig {
	var saved []savedConfig
	for _, e := range config {
		saved = append(saved, savedConfig{e.id, e.kind, e.value, e.description, e.writeOnly, e.createdAt})
	}
	return saved
}

func (r *run) saved() savedRun {
	return savedRun{
		ID: r.id, Type: r.kind, Plan: r.plan, Commit: r.commit, Command: r.command, CreatedAt: r.createdAt, UpdatedAt: r.updatedAt,
		History: r.history, Delta: r.delta, Planned: r.planned, TriggeredBy: r.triggeredBy, By: r.by, Session: r.session, Drift: r.drift,
		Metadata: r.metadata, Reviews: r.reviews, Comments: r.comments, SkipInit: r.skipInit, Retried: r.retried,
		Prioritized: r.prioritized, ForceApply: r.forceApply, Settled: r.settled, Chain: r.chain,
		Upstream: runIDs(r.upstream), Downstream: runIDs(r.downstream), Pushed: r.pushed, Released: r.released,
		External: r.external, Applied: r.applied, ChangedBy: r.changedBy,
	}
}

func (t *timer) saved() savedTimer {
	saved := savedTimer{What: t.what, At: t.at, Version: t.version, By: t.by, Note: t.note, Lane: savedLaneKey{t.lane.webhook, t.lane.run, t.lane.own}}
	if t.run != nil {
		saved.Run = t.run.id
	}
	return saved
}

// saveDeliveries adds the log and the lanes, whose deliveries are in the log
// however old they are.
func (s *Simulator) saveDeliveries(shot *snapshot, places map[*health]string) {
	waiting := map[*delivery]bool{}
	inLog := map[*delivery]bool{}
	keys := func(list []*delivery) []string {
		var ids []string
		for _, d := range list {
			ids = append(ids, d.id)
			waiting[d] = true
		}
		return ids
	}
	for _, key := range s.sortedLanes() {
		l := s.lanes[key]
		shot.Lanes = append(shot.Lanes, savedLane{savedLaneKey{key.webhook, key.run, key.own}, keys(l.queue), keys(l.held)})
	}
	log := newest(s.deliveries)
	for _, d := range log {
		inLog[d] = true
	}
	var old []*delivery
	for d := range waiting {
		if !inLog[d] {
			old = append(old, d)
		}
	}
	slices.SortFunc(old, func(a, b *delivery) int { return cmp.Or(a.QueuedAt.Compare(b.QueuedAt), cmp.Compare(a.id, b.id)) })
	for _, d := range slices.Concat(old, log) {
		saved := savedDelivery{Delivery: d.Delivery, Key: d.id}
		if waiting[d] {
			saved.To, saved.Retry, saved.NotBefore = places[d.target.health], d.target.retry, d.notBefore
			saved.Query = d.target.query
		}
		shot.Log = append(shot.Log, saved)
	}
}

func saveFaults[F any](list []*armed[F]) []savedFault[F] {
	var saved []savedFault[F]
	for _, a := range list {
		saved = append(saved, savedFault[F]{a.id, a.fault, a.probability, a.left})
	}
	return saved
}
