package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// Restore opens the account that Save has written. Everything continues from where
// it was: phases end when they would have ended (immediately, if that time has
// passed), queues move, and pending deliveries are sent. A request that was under
// way is made again: deliveries arrive at least once.
//
// Options.Account must be that of the snapshot, or empty; Options.Seed is not
// used, for the snapshot continues its sequence. Each prepare is called before
// anything moves, so it can correct an endpoint.
//
// A snapshot that can't be read, is of another kind, account or version, or
// doesn't fit together is an error, never an empty account.
func Restore(from io.Reader, opts Options, prepare ...func(*Simulator) error) (*Simulator, error) {
	shot, err := readSnapshot(from)
	if err != nil {
		return nil, err
	}
	if opts.Account != "" && opts.Account != shot.Account {
		return nil, fmt.Errorf("the snapshot is of account %s, not of %s", shot.Account, opts.Account)
	}
	opts.Account = shot.Account
	s := open(opts)
	s.restoring = true
	if err := (&restorer{s: s, shot: shot}).restore(); err != nil {
		s.Close()
		return nil, fmt.Errorf("the snapshot of account %s is damaged: %w", shot.Account, err)
	}
	for _, f := range prepare {
		if err := f(s); err != nil {
			s.Close()
			return nil, fmt.Errorf("prepare account %s: %w", shot.Account, err)
		}
	}
	s.wake()
	return s, nil
}

// readSnapshot checks the kind and the version first, so that it doesn't call a
// file of something else a damaged snapshot.
func readSnapshot(from io.Reader) (*snapshot, error) {
	data, err := io.ReadAll(from)
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	switch err := json.Unmarshal(data, &head); {
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errors.New("the snapshot is empty")
	case err != nil && bytes.Contains(data, []byte(snapshotFormat)):
		return nil, fmt.Errorf("the snapshot is damaged: %w", err)
	case err != nil || head.Format != snapshotFormat:
		return nil, errors.New("this is not the snapshot of a simulated account")
	case head.Version != snapshotVersion:
		return nil, fmt.Errorf("the snapshot has version %d, but this simulator reads version %d: use the one that wrote it", head.Version, snapshotVersion)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	decoder.UseNumber() // large numbers in plans keep their value
	shot := new(snapshot)
	if err := decoder.Decode(shot); err != nil {
		return nil, fmt.Errorf("the snapshot is damaged: %w", err)
	}
	return shot, nil
}

// wake starts the timers and deliveries of a restored account.
func (s *Simulator) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restoring = false
	for _, t := range s.sortedTimers() {
		s.arm(t)
	}
	for _, key := range s.sortedLanes() {
		if s.lanes[key].timer == nil {
			s.pump(key)
		}
	}
	s.touch()
}

// restorer fills an account from a snapshot and checks that it fits together:
// an account that doesn't would fail much later, far from the cause.
type restorer struct {
	s    *Simulator
	shot *snapshot

	hooks      map[string]*health   // by their place
	deliveries map[string]*delivery // by key
}

func (r *restorer) restore() error {
	if err := r.s.source.UnmarshalBinary(r.shot.Random); err != nil {
		return fmt.Errorf("random: %w", err)
	}
	if len(r.shot.Tokens) == 0 {
		return errors.New("it has no key for tokens")
	}
	r.s.tokenKey = r.shot.Tokens
	r.hooks, r.deliveries = map[string]*health{}, map[string]*delivery{}
	for _, step := range []func() error{
		r.spaces, r.stacks, r.links, r.edges, r.webhooks, r.policies, r.contexts, r.sent, r.lanes, r.timers,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	s := r.s
	maps.Copy(s.external, r.shot.Outside)
	s.inbox, s.faultCount = r.shot.Inbox, r.shot.Faults.Count
	s.deliveryFaults, s.apiFaults = pointers(r.shot.Faults.Deliveries), pointers(r.shot.Faults.API)
	s.requests = pointers(r.shot.Seen)
	return nil
}

func (r *restorer) spaces() error {
	s := r.s
	for _, sp := range r.shot.Spaces {
		s.spaces[sp.ID] = &space{Space: sp}
	}
	if s.spaces[rootSpace] == nil {
		return errors.New("it has no root space")
	}
	for _, sp := range r.shot.Spaces {
		at := &space{Space: sp}
		for range s.spaces { // that many steps lead to the root, or never
			if at != nil && at.ID != rootSpace {
				at = s.spaces[at.Parent]
			}
		}
		if at == nil || at.ID != rootSpace {
			return fmt.Errorf("space %s is not below the root", sp.ID)
		}
	}
	for _, p := range r.shot.Pools {
		s.pools[p.ID] = p
	}
	for _, k := range r.shot.Keys {
		s.keys[k.ID] = k.key()
	}
	return nil
}

func (r *restorer) stacks() error {
	s := r.s
	for i, saved := range r.shot.Stacks {
		st := &stack{stackRecord: saved.stackRecord, settings: defaultSettings()}
		if saved.Settings != nil {
			st.settings = *saved.Settings
		}
		if st.Outputs == nil {
			st.Outputs = map[string]string{}
		}
		if err := s.restoreStack(st); err != nil {
			return err
		}
		for j, w := range saved.Webhooks {
			hook := newStackWebhook(w.webhook())
			hook.failures = w.Failures
			st.webhooks = append(st.webhooks, hook)
			r.hooks[stackHookPlace(i, j)] = &hook.health
		}
		if err := st.restoreRuns(s, saved.Runs); err != nil {
			return err
		}
		if err := st.restoreQueue(s, saved); err != nil {
			return fmt.Errorf("stack %s: %w", st.ID, err)
		}
	}
	return nil
}

// restoreStack adds a stack to the account unless it is a deleted one.
func (s *Simulator) restoreStack(st *stack) error {
	if st.Deleted {
		return nil
	}
	if s.stacks[st.ID] != nil || st.ID == "" {
		return fmt.Errorf("stack %q is there twice, or behind a deleted one", st.ID)
	}
	if s.spaces[st.Space] == nil {
		return fmt.Errorf("stack %s: no space %s", st.ID, st.Space)
	}
	s.order = append(s.order, st.ID)
	s.stacks[st.ID] = st
	return nil
}

func (st *stack) restoreRuns(s *Simulator, saved []savedRun) error {
	for _, one := range saved {
		r := &run{runRecord: one.runRecord, sim: s, stack: st}
		if err := r.checkHistory(); err != nil {
			return fmt.Errorf("run %s of stack %s: %w", r.ID, st.ID, err)
		}
		if s.runs[r.ID] != nil {
			return fmt.Errorf("run %s is there twice", r.ID)
		}
		s.runs[r.ID] = r
		st.runs = append(st.runs, r)
	}
	return nil
}

// checkHistory returns an error for a history that no run can have.
func (r *run) checkHistory() error {
	if r.ID == "" || len(r.History) == 0 || r.History[0].State != queued {
		return errors.New("it has no beginning")
	}
	if transitions[r.Type] == nil {
		return fmt.Errorf("there are no runs of type %q", r.Type)
	}
	for i, t := range r.History {
		if t.StateVersion != i || i > 0 && !legal(r.Type, r.History[i-1].State, t.State) {
			return fmt.Errorf("a %s run can't be %s as version %d", r.Type, t.State, t.StateVersion)
		}
	}
	return nil
}

// restoreQueue requires that the QUEUED runs are those that wait: no other one
// would ever start.
func (st *stack) restoreQueue(s *Simulator, saved savedStack) error {
	find := func(id spacelift.RunID) (*run, error) {
		if r := s.runs[id]; r != nil && r.stack == st {
			return r, nil
		}
		return nil, fmt.Errorf("it has no run %s", id)
	}
	var err error
	if saved.Blocker != "" {
		if st.blocker, err = find(saved.Blocker); err != nil {
			return err
		}
	}
	for _, id := range saved.Waiting {
		r, err := find(id)
		if err != nil {
			return err
		}
		st.waiting = append(st.waiting, r)
	}
	for _, r := range st.runs {
		if (r.state() == queued) != slices.Contains(st.waiting, r) {
			return fmt.Errorf("its queue and the state %s of run %s don't agree", r.state(), r.ID)
		}
	}
	return nil
}
