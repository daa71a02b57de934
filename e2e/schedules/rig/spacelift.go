package rig

import (
	"bytes"
	"cmp"
	"encoding/json"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// Spacelift is the simulated account behind a network that can fail. It observes
// the account, and keeps the newest state of each run at hand.
type Spacelift struct {
	*simulator.Simulator
	URL string

	history *history.Writer

	mu     sync.RWMutex     // guards what follows
	moves  int              // states that runs have entered
	shown  map[string]int   // answers that showed a run, by its id
	runs   map[string][]Run // by stack, oldest first
	stacks map[string]simulator.StackStatus
	glass  map[string]bool // of spaces in which somebody may break it: whether it is whole
	cut    float64         // probability that a request breaks before it has an effect
	stale  float64         // probability that a query has an old answer
	old    map[uint64]oldAnswer
	random *rand.Rand
}

// Run is the newest state of a run.
type Run struct {
	Stack, ID, Type, State string
	Version                int
	Commit, By             string
	Drift                  bool

	asked bool // an approval policy asked for reviews when the run entered the state
}

// Ended reports whether the run is over.
func (r Run) Ended() bool { return spacelift.RunState(r.State).Terminal() }

// oldAnswer is the answer to a query of some time ago.
type oldAnswer struct {
	at     time.Time
	body   []byte
	record history.Call
}

// staleness limits the age of old answers.
const staleness = 3 * time.Second

// RunEntered implements simulator.Observer.
func (s *Spacelift) RunEntered(r simulator.Run) {
	newest := r.History[len(r.History)-1]
	state := &history.RunState{
		Stack: string(r.Ref.Stack), Run: string(r.Ref.Run), Type: string(r.Type), State: string(r.State), Version: r.StateVersion,
		By: newest.Username, Note: newest.Note, At: newest.At.UTC(), Commit: r.Commit.Hash, Branch: r.Branch, Author: r.Commit.AuthorLogin,
		Trigger: r.TriggeredBy, Drift: r.DriftDetection, Metadata: r.Metadata, Retried: r.Retried,
	}
	if d := r.Delta; d != nil {
		state.Delta = &history.Delta{Added: d.Added, Changed: d.Changed, Deleted: d.Deleted}
		for _, c := range r.Plan.Changes {
			if c.Action == "deleted" && !slices.Contains(state.Destroys, c.Type) {
				state.Destroys = append(state.Destroys, c.Type)
			}
		}
	}
	s.history.Add(history.Record{Schedule: history.ScheduleOf(state.Stack), RunState: state})
	now := Run{
		Stack: state.Stack, ID: state.Run, Type: state.Type, State: state.State, Version: state.Version,
		Commit: state.Commit, By: state.By, Drift: r.DriftDetection, asked: r.NeedsApproval,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves++
	runs := s.runs[now.Stack]
	if i := slices.IndexFunc(runs, func(o Run) bool { return o.ID == now.ID }); i >= 0 {
		runs[i] = now
		return
	}
	s.runs[now.Stack] = append(runs, now)
}

// RunReviewed implements simulator.Observer.
func (s *Spacelift) RunReviewed(run spacelift.RunRef, r simulator.Review) {
	s.history.Add(history.Record{Schedule: history.ScheduleOf(string(run.Stack)), Review: &history.Review{
		Stack: string(run.Stack), Run: string(run.Run), Author: r.Author, Decision: r.Decision, State: string(r.State), Note: r.Note,
	}})
}

// StackChanged implements simulator.Observer.
func (s *Spacelift) StackChanged(st simulator.StackStatus) {
	s.history.Add(history.Record{Schedule: history.ScheduleOf(string(st.ID)), Stack: &history.Stack{
		Stack: string(st.ID), Space: st.Space, Labels: st.Labels, Autodeploy: st.Autodeploy, Approvals: st.Approvals,
		LockedBy: st.LockedBy, LockNote: st.LockNote, Disabled: st.Disabled, Deleting: st.Deleting, Deleted: st.Deleted,
	}})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stacks[string(st.ID)] = st
}

// RequestAnswered implements simulator.Observer.
func (s *Spacelift) RequestAnswered(r simulator.Request, data []byte) {
	call := &history.Call{
		Kind: r.Kind, Operation: r.Operation, Fields: r.Fields, Arguments: r.Arguments, Actor: r.Actor, Agent: r.UserAgent,
		Metadata: r.Metadata, Executed: r.Executed, Status: r.Status, Errors: r.Errors, Fault: string(r.Fault), Size: len(data),
	}
	call.Runs, call.Stacks = seen(data)
	s.mu.Lock()
	for _, run := range call.Runs {
		s.shown[run.Run]++
	}
	s.mu.Unlock()
	if slices.Contains(call.Fields, "apiKeyUser") {
		call.Arguments = nil
	}
	// The real clock's times have a monotonic part.
	s.history.AddSince(s.history.Now()-time.Since(r.At), history.Record{Schedule: call.Schedule(), Call: call})
}

// Runs returns the runs of a stack, oldest first.
func (s *Spacelift) Runs(stack string) []Run {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.runs[stack])
}

// Latest returns the newest run of a stack.
func (s *Spacelift) Latest(stack string) (Run, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	runs := s.runs[stack]
	if len(runs) == 0 {
		return Run{}, false
	}
	return runs[len(runs)-1], true
}

// Moves returns how many states runs have entered.
func (s *Spacelift) Moves() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.moves
}

// Shown returns how many answers have shown a run.
func (s *Spacelift) Shown(run string) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.shown[run]
}

// AwaitsPeople reports whether a run waits for people in Spacelift.
func (s *Spacelift) AwaitsPeople(r Run) bool {
	return spacelift.RunState(r.State).NeedsDecision(s.NeedsReview(r))
}

// NeedsReview reports whether an approval policy still asks for reviews of a run.
func (s *Spacelift) NeedsReview(r Run) bool {
	if !r.asked {
		return false
	}
	now, err := s.Run(spacelift.StackID(r.Stack), spacelift.RunID(r.ID))
	return err == nil && now.NeedsApproval
}

// StackNow returns a stack as it is now.
func (s *Spacelift) StackNow(stack string) (simulator.StackStatus, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st, found := s.stacks[stack]
	return st, found && !st.Deleted
}

// Open returns all runs that have not ended.
func (s *Spacelift) Open() (open []Run) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, runs := range s.runs {
		for _, r := range runs {
			if !r.Ended() {
				open = append(open, r)
			}
		}
	}
	slices.SortFunc(open, func(a, b Run) int { return cmp.Or(cmp.Compare(a.Stack, b.Stack), cmp.Compare(a.ID, b.ID)) })
	return open
}

// Failed returns the newest runs of a schedule's stacks that have failed.
func (s *Spacelift) Failed(schedule int) (failed []Run) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for stack, runs := range s.runs {
		if r := runs[len(runs)-1]; r.State == "FAILED" && history.ScheduleOf(stack) == schedule {
			failed = append(failed, r)
		}
	}
	return failed
}

// All returns every run that ever was.
func (s *Spacelift) All() (all []Run) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, runs := range s.runs {
		all = append(all, runs...)
	}
	slices.SortFunc(all, func(a, b Run) int { return cmp.Or(cmp.Compare(a.Stack, b.Stack), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Cut makes requests break, with a probability, before they have an effect.
func (s *Spacelift) Cut(probability float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = probability
}

// Lag makes queries have answers of some seconds ago, with a probability, as
// a replica of a database would.
func (s *Spacelift) Lag(probability float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale, s.old = probability, map[uint64]oldAnswer{}
}

// ServeHTTP implements http.Handler: the network in front of the account.
func (s *Spacelift) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	cut, stale := s.random.Float64() < s.cut, s.stale > 0
	useOld := s.random.Float64() < s.stale
	s.mu.Unlock()
	if cut {
		s.history.Add(history.Record{Call: &history.Call{Fault: "cut"}})
		panic(http.ErrAbortHandler) // the server breaks the connection
	}
	if !stale || !isQuery(body) {
		s.Simulator.ServeHTTP(w, r)
		return
	}
	key := keyOf(body)
	s.mu.Lock()
	old, found := s.old[key]
	s.mu.Unlock()
	if found && useOld && time.Since(old.at) < staleness {
		record := old.record
		s.history.Add(history.Record{Schedule: record.Schedule(), Call: &record})
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(old.body) // the client may be gone
		return
	}
	s.serveAndKeep(w, r, key, body)
}

// serveAndKeep serves a query and keeps its answer, to be served again later.
func (s *Spacelift) serveAndKeep(w http.ResponseWriter, r *http.Request, key uint64, request []byte) {
	kept := &keeping{ResponseWriter: w, status: http.StatusOK}
	s.Simulator.ServeHTTP(kept, r)
	var answer struct {
		Data   json.RawMessage
		Errors []json.RawMessage
	}
	if kept.status != http.StatusOK || json.Unmarshal(kept.body.Bytes(), &answer) != nil || len(answer.Errors) > 0 {
		return
	}
	var asked struct{ OperationName string }
	_ = json.Unmarshal(request, &asked) // isQuery has read it
	record := history.Call{Kind: "query", Operation: asked.OperationName, Fields: []string{}, Actor: Actor, Status: kept.status, Fault: "stale", Stale: true, Size: len(answer.Data)}
	record.Runs, record.Stacks = seen(answer.Data)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.old[key] = oldAnswer{time.Now(), kept.body.Bytes(), record}
}

// keeping is a response of which the body is kept.
type keeping struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (k *keeping) WriteHeader(status int) {
	k.status = status
	k.ResponseWriter.WriteHeader(status)
}

func (k *keeping) Write(b []byte) (int, error) {
	k.body.Write(b)
	return k.ResponseWriter.Write(b)
}

func isQuery(body []byte) bool {
	var request struct{ Query string }
	return json.Unmarshal(body, &request) == nil && strings.HasPrefix(strings.TrimSpace(request.Query), "query")
}

func keyOf(body []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(body) // it returns no error
	return h.Sum64()
}

// seen returns the runs and stacks that the data of an answer shows.
func seen(data []byte) (runs []history.RunSeen, stacks []history.StackSeen) {
	var all any
	if json.Unmarshal(data, &all) != nil {
		return nil, nil
	}
	var w walk
	w.value(all, "")
	return w.runs, w.stacks
}

// walk collects what an answer shows.
type walk struct {
	runs   []history.RunSeen
	stacks []history.StackSeen
}

func (w *walk) value(v any, stack string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			w.value(e, stack)
		}
	case map[string]any:
		stack = w.object(v, stack)
		for _, e := range v {
			w.value(e, stack)
		}
	}
}

// object takes one object below a stack, and returns the stack of the objects
// in it.
func (w *walk) object(v map[string]any, stack string) string {
	id, _ := v["id"].(string)
	_, isRun := v["type"].(string)
	state, hasState := v["state"].(string)
	switch {
	case id == "":
	case isRun && hasState:
		w.runs = append(w.runs, history.RunSeen{Stack: stack, Run: id, State: state, Version: newest(v["history"])})
	case v["labels"] != nil:
		w.stacks = append(w.stacks, stackSeen(id, v))
		stack = id
	case stack == "":
		stack = id
	}
	if st, ok := v["stack"].(map[string]any); ok { // the node of a search: the run is beside it
		if id, ok := st["id"].(string); ok {
			stack = id
		}
	}
	return stack
}

func newest(h any) int {
	version := -1.0
	entries, _ := h.([]any)
	for _, e := range entries {
		if e, ok := e.(map[string]any); ok {
			if n, ok := e["stateVersion"].(float64); ok {
				version = max(version, n)
			}
		}
	}
	return int(version)
}

func stackSeen(id string, v map[string]any) history.StackSeen {
	s := history.StackSeen{Stack: id, Labels: []string{}}
	labels, _ := v["labels"].([]any)
	for _, l := range labels {
		if l, ok := l.(string); ok {
			s.Labels = append(s.Labels, l)
		}
	}
	s.LockedBy, _ = v["lockedBy"].(string)
	s.Disabled, _ = v["isDisabled"].(bool)
	s.Deleting, _ = v["deleting"].(bool)
	return s
}
