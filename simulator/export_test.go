package simulator

import (
	"reflect"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gantryhq/gantry/spacelift"
)

// Difference returns how two accounts differ, even in fields that no API shows. It
// ignores machinery and, for finished deliveries, what sending them would need.
func Difference(a, b *Simulator) string {
	for _, s := range []*Simulator{a, b} {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	options := cmp.Options{
		cmp.Exporter(func(t reflect.Type) bool {
			return strings.HasPrefix(t.PkgPath(), reflect.TypeFor[Simulator]().PkgPath())
		}),
		cmpopts.EquateEmpty(),
		cmpopts.IgnoreFields(Simulator{}, "opts", "clock", "log", "client", "handler", "ctx", "cancel", "senders", "transmit", "mu",
			"closed", "restoring", "source", "random", "changed", "timers", "timerCount", "sending", "lanes", "stacks", "runs"),
		cmpopts.IgnoreFields(timer{}, "seq", "stop"),
		cmpopts.IgnoreFields(health{}, "disabled"),
		cmpopts.IgnoreFields(policy{}, "query"),
		cmpopts.IgnoreFields(delivery{}, "target", "notBefore"),
		// Numbers of unknown kind come back as json.Number.
		cmp.FilterValues(func(a, b map[string]any) bool { return len(a)+len(b) > 0 },
			cmp.Transformer("JSON", func(m map[string]any) string { return string(encode(m)) })),
	}
	return cmp.Diff(a, b, options) + cmp.Diff(a.apart(), b.apart(), options)
}

type stackApart struct {
	Stack         stack
	Blocker       spacelift.RunID
	Waiting, Runs []spacelift.RunID
}

type runApart struct {
	Run      run
	Stack    spacelift.StackID
	Up, Down []spacelift.RunID
}

type timerApart struct {
	Timer timer
	Run   spacelift.RunID
}

type unsent struct {
	Lane        laneKey
	ID, Webhook string
	Retry, Off  bool
	NotBefore   time.Time
}

// apart returns records without the pointers between them: comparing circles would
// never end.
func (s *Simulator) apart() any {
	random, err := s.source.MarshalBinary()
	all := []any{random, err}
	id := func(r *run) spacelift.RunID {
		if r == nil {
			return ""
		}
		return r.ID
	}
	for _, st := range s.everyStack() {
		own := *st
		own.blocker, own.waiting, own.runs = nil, nil, nil
		all = append(all, stackApart{own, id(st.blocker), runIDs(st.waiting), runIDs(st.runs)})
		for _, r := range st.runs {
			own := *r
			own.sim, own.stack, own.upstream, own.downstream, own.timer = nil, nil, nil, nil, nil
			all = append(all, runApart{own, r.stack.ID, runIDs(r.upstream), runIDs(r.downstream)})
		}
	}
	for _, t := range s.sortedTimers() {
		own := *t
		own.run = nil
		all = append(all, timerApart{own, id(t.run)})
	}
	for _, key := range s.sortedLanes() {
		for _, d := range append(s.lanes[key].queue, s.lanes[key].held...) {
			all = append(all, unsent{key, d.id, d.target.health.key, d.target.retry, *d.target.health.disabled(), d.notBefore})
		}
	}
	return all
}
