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
// secrets, all runs, the timers, the pending deliveries, and the newest 1,000
// entries of each log. If nothing happens between two snapshots,
// they are the same, byte for byte. Save may be called after Close, too.
func (s *Simulator) Save(w io.Writer) error {
	s.mu.Lock()
	shot := s.snapshot()
	s.mu.Unlock()
	if err := json.NewEncoder(w).Encode(shot); err != nil {
		return fmt.Errorf("save account %s: %w", s.opts.Account, err)
	}
	return nil
}

// snapshot copies everything that may change once the lock is released; histories,
// logs and plans only grow or are replaced.
func (s *Simulator) snapshot() *snapshot {
	random, err := s.source.MarshalBinary()
	if err != nil {
		panic(err) // it has no errors
	}
	shot := &snapshot{
		Format: snapshotFormat, Version: snapshotVersion, Account: s.opts.Account, Random: random, Tokens: s.tokenKey,
		Outside: maps.Clone(s.external), Inbox: slices.Clone(newest(s.inbox)), Seen: values(newest(s.requests)),
		Rules: values(s.policies), Bonds: values(s.attachments), Bundles: values(s.contexts), Edges: values(s.dependencies),
		Faults: savedFaults{Count: s.faultCount, Deliveries: values(s.deliveryFaults), API: values(s.apiFaults)},
	}
	for i := range shot.Rules {
		shot.Rules[i].Samples = slices.Clone(shot.Rules[i].Samples)
	}
	for i := range shot.Bundles {
		shot.Bundles[i].Elements = slices.Clone(shot.Bundles[i].Elements)
	}
	for i := range shot.Edges {
		shot.Edges[i].References = pointers(values(shot.Edges[i].References))
	}
	for _, sp := range s.sortedSpaces() {
		shot.Spaces = append(shot.Spaces, sp.Space)
	}
	for _, id := range sortedKeys(s.pools) {
		shot.Pools = append(shot.Pools, s.pools[id])
	}
	for _, id := range sortedKeys(s.keys) {
		shot.Keys = append(shot.Keys, keyInput{s.keys[id], s.keys[id].Secret})
	}
	for _, a := range s.contextBonds {
		shot.Shares = append(shot.Shares, savedShare{shareInput{a.Stack, a.context.ID, a.Priority}, a.ID})
	}
	for _, t := range s.sortedTimers() {
		saved := savedTimer{timer: *t}
		if t.run != nil {
			saved.Run = t.run.ID
		}
		shot.Timers = append(shot.Timers, saved)
	}
	s.saveDeliveries(shot, s.saveWebhooks(shot))
	return shot
}

// saveWebhooks adds the named webhooks, and the stacks with their own. It returns
// where in the snapshot each webhook is.
func (s *Simulator) saveWebhooks(shot *snapshot) map[*health]string {
	places := map[*health]string{}
	for i, st := range s.everyStack() {
		shot.Stacks = append(shot.Stacks, st.saved())
		for j, w := range st.webhooks {
			places[&w.health] = stackHookPlace(i, j)
		}
	}
	for i, w := range s.webhooks {
		shot.Hooks = append(shot.Hooks, savedNamedHook{
			namedHookInput{w.NamedWebhook, w.Secret, maps.Clone(w.Headers)}, w.failures, w.CreatedAt,
		})
		places[&w.health] = namedHookPlace(i)
	}
	return places
}

// everyStack returns the account's stacks in their order, then the deleted ones
// that have runs.
func (s *Simulator) everyStack() []*stack {
	var all, gone []*stack
	for _, id := range s.order {
		all = append(all, s.stacks[id])
	}
	seen := map[*stack]bool{}
	for _, id := range slices.Sorted(maps.Keys(s.runs)) {
		if st := s.runs[id].stack; st.Deleted && !seen[st] {
			seen[st] = true
			gone = append(gone, st)
		}
	}
	slices.SortStableFunc(gone, func(a, b *stack) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return append(all, gone...)
}

func stackHookPlace(stack, webhook int) string {
	return "/stacks/" + strconv.Itoa(stack) + "/webhooks/" + strconv.Itoa(webhook)
}

func namedHookPlace(webhook int) string { return "/webhooks/" + strconv.Itoa(webhook) }

func newest[T any](log []T) []T { return log[max(0, len(log)-snapshotLog):] }

func values[T any](list []*T) []T {
	var copies []T
	for _, item := range list {
		copies = append(copies, *item)
	}
	return copies
}

func pointers[T any](list []T) []*T {
	var to []*T
	for i := range list {
		to = append(to, &list[i])
	}
	return to
}

func runIDs(runs []*run) []spacelift.RunID {
	var ids []spacelift.RunID
	for _, r := range runs {
		ids = append(ids, r.ID)
	}
	return ids
}

func (st *stack) saved() savedStack {
	saved := savedStack{stackRecord: st.stackRecord, Waiting: runIDs(st.waiting)}
	saved.Outputs, saved.NextPlans, saved.Config = maps.Clone(st.Outputs), slices.Clone(st.NextPlans), slices.Clone(st.Config)
	if !reflect.DeepEqual(st.settings, defaultSettings()) {
		saved.Settings = new(st.settings)
	}
	if st.blocker != nil {
		saved.Blocker = st.blocker.ID
	}
	for _, w := range st.webhooks {
		saved.Webhooks = append(saved.Webhooks, savedHook{stackHookInput{w.StackWebhook, w.Secret}, w.failures})
	}
	for _, r := range st.runs {
		saved.Runs = append(saved.Runs, savedRun{r.runRecord, runIDs(r.upstream), runIDs(r.downstream)})
	}
	return saved
}

// saveDeliveries adds the log and the lanes, whose deliveries are in the log
// however old they are.
func (s *Simulator) saveDeliveries(shot *snapshot, places map[*health]string) {
	waiting := map[*delivery]bool{}
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
		shot.Lanes = append(shot.Lanes, savedLane{key, keys(l.queue), keys(l.held)})
	}
	log := newest(s.deliveries)
	inLog := map[*delivery]bool{}
	for _, d := range log {
		inLog[d] = true
	}
	old := slices.DeleteFunc(slices.Collect(maps.Keys(waiting)), func(d *delivery) bool { return inLog[d] })
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
