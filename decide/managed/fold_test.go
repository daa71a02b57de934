package managed

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

func fresh() Record { return Record{Run: testRun, StartedAt: t0} }

// Whatever the order, and however often each is repeated, the notifications of
// a run add up to the same.
func TestFoldIgnoresOrderAndRepeats(t *testing.T) {
	for _, seq := range sequences {
		t.Run(seq.name, func(t *testing.T) {
			events := seq.events()
			want := fold(fresh(), events...)
			rapid.Check(t, func(t *rapid.T) {
				deliveries := rapid.Permutation(withRepeats(t, events)).Draw(t, "deliveries")
				got := fresh()
				for len(deliveries) > 0 { // in batches of any size, as they come
					n := rapid.IntRange(1, len(deliveries)).Draw(t, "batch")
					got, deliveries = fold(got, deliveries[:n]...), deliveries[n:]
				}
				if diff := cmp.Diff(want.Status(t0), got.Status(t0)); diff != "" {
					t.Fatalf("status (-in order +as delivered):\n%s", diff)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("record (-in order +as delivered):\n%s", diff)
				}
			})
		})
	}
}

// withRepeats adds later deliveries of some of the events.
func withRepeats(t *rapid.T, events []RunEvent) []RunEvent {
	all := slices.Clone(events)
	for _, i := range rapid.SliceOf(rapid.IntRange(0, len(events)-1)).Draw(t, "repeats") {
		if events[i].Source == SourceReconcile {
			continue // a later reading is none of the same
		}
		again := events[i]
		again.ReceivedAt = again.ReceivedAt.Add(time.Duration(len(all)) * time.Minute)
		again.Delivery = fmt.Sprintf("repeat-%03d", len(all))
		all = append(all, again)
	}
	return all
}

// A run ends in the same status when notifications on the way are lost; only
// what is known of the way differs.
func TestFoldSurvivesLoss(t *testing.T) {
	theWay := cmpopts.IgnoreFields(RunStatus{}, "States", "Timeline")
	for _, seq := range sequences {
		t.Run(seq.name, func(t *testing.T) {
			events := seq.events()
			want := fold(fresh(), events...)
			rapid.Check(t, func(t *rapid.T) {
				got := fresh()
				for _, e := range events {
					if e.State.Terminal() || rapid.Bool().Draw(t, "arrives") {
						got = fold(got, e)
					}
				}
				if diff := cmp.Diff(want.Status(t0), got.Status(t0), theWay); diff != "" {
					t.Fatalf("status (-all +with losses):\n%s", diff)
				}
			})
		})
	}
}

// At every point on the way, the status is that of the newest state received,
// and no earlier event changes it.
func TestFoldNeverMovesBackwards(t *testing.T) {
	for _, seq := range sequences {
		t.Run(seq.name, func(t *testing.T) {
			r := fresh()
			for version, e := range seq.events() {
				r = fold(r, e)
				now := r.Status(t0)
				if now.State != e.State || now.StateVersion != version {
					t.Fatalf("after %s (%d) the state is %s (%d)", e.State, version, now.State, now.StateVersion)
				}
				late := fold(r, seq.events()[:version]...)
				if diff := cmp.Diff(now, late.Status(t0)); diff != "" {
					t.Fatalf("late repeats changed the status at %s:\n%s", e.State, diff)
				}
			}
		})
	}
}

func TestFold(t *testing.T) {
	e := func(state spacelift.RunState, version int, change ...func(*RunEvent)) RunEvent {
		ev := notification("TRACKED", state, version)
		for _, c := range change {
			c(&ev)
		}
		return ev
	}
	api := func(ev *RunEvent) { ev.Source = SourceReconcile }
	for _, tc := range []struct {
		name   string
		events []RunEvent
		want   func(*RunStatus) any
		is     any
	}{
		{
			name:   "the end counts whatever its version",
			events: []RunEvent{e("APPLYING", 8), e("FINISHED", 3, api)},
			want:   func(s *RunStatus) any { return s.State }, is: spacelift.RunStateFinished,
		},
		{
			name:   "nothing comes after the end",
			events: []RunEvent{e("FINISHED", 3, api), e("APPLYING", 8)},
			want:   func(s *RunStatus) any { return s.Phase }, is: PhaseDone,
		},
		{
			name:   "the end is last in the timeline",
			events: []RunEvent{e("FINISHED", 3, api), e("APPLYING", 8)},
			want:   func(s *RunStatus) any { return s.Timeline[len(s.Timeline)-1].State }, is: spacelift.RunStateFinished,
		},
		{
			name:   "of two ends the later version counts",
			events: []RunEvent{e("FAILED", 9, api), e("FINISHED", 8, api)},
			want:   func(s *RunStatus) any { return s.State }, is: spacelift.RunStateFailed,
		},
		{
			name:   "an end that only a notification names is none",
			events: []RunEvent{e("APPLYING", 8), e("FINISHED", 9)},
			want:   func(s *RunStatus) any { return s.State }, is: spacelift.RunStateApplying,
		},
		{
			name:   "nor does one hide the end that the API showed",
			events: []RunEvent{e("FAILED", 9, api), e("FINISHED", 9, func(ev *RunEvent) { ev.At = ev.At.Add(time.Hour) })},
			want:   func(s *RunStatus) any { return s.State }, is: spacelift.RunStateFailed,
		},
		{
			name:   "a replan repeats states",
			events: []RunEvent{e("PLANNING", 4), e("UNCONFIRMED", 5), e("REPLAN_REQUESTED", 6), e("PLANNING", 8)},
			want:   func(s *RunStatus) any { return len(s.States) }, is: 4,
		},
		{
			name:   "labels are those of the newest state",
			events: []RunEvent{e("UNCONFIRMED", 5, func(ev *RunEvent) { ev.Labels = []string{"gantry:managed"} }), e("PLANNING", 4)},
			want:   func(s *RunStatus) any { return s.Policy.Confirm.Value }, is: policy.ConfirmManual,
		},
		{
			name:   "no labels are labels too",
			events: []RunEvent{e("PLANNING", 4), e("UNCONFIRMED", 5, func(ev *RunEvent) { ev.Labels = nil })},
			want:   func(s *RunStatus) any { return s.Managed }, is: false,
		},
		{
			name:   "the API knows the labels better",
			events: []RunEvent{e("UNCONFIRMED", 5, api, func(ev *RunEvent) { ev.Labels = []string{"gantry:managed"} }), e("UNCONFIRMED", 5)},
			want:   func(s *RunStatus) any { return s.Policy.Confirm.Value }, is: policy.ConfirmManual,
		},
		{
			name: "of two readings the later counts",
			events: []RunEvent{
				e("UNCONFIRMED", 5, api, func(ev *RunEvent) { ev.ReceivedAt = t0.Add(2 * time.Hour) }),
				e("UNCONFIRMED", 5, api, func(ev *RunEvent) { ev.ReceivedAt = t0.Add(time.Hour); ev.Labels = nil }),
			},
			want: func(s *RunStatus) any { return s.Policy.Confirm.Value }, is: policy.ConfirmAuto,
		},
		{
			name:   "an absent particular does not erase a known one",
			events: []RunEvent{e("UNCONFIRMED", 5), e("CONFIRMED", 6, func(ev *RunEvent) { ev.Delta, ev.Branch, ev.TriggeredBy = nil, "", "" })},
			want:   func(s *RunStatus) any { return fmt.Sprint(s.Branch, " ", s.Delta.Added) }, is: "main 3",
		},
		{
			name: "a commit is completed from another event of it",
			events: []RunEvent{e("UNCONFIRMED", 5), e("UNCONFIRMED", 5, api, func(ev *RunEvent) {
				ev.Commit.AuthorLogin = ""
			})},
			want: func(s *RunStatus) any { return s.Commit.AuthorLogin }, is: "jdoe",
		},
		{
			name: "but not from another commit",
			events: []RunEvent{e("PLANNING", 4), e("UNCONFIRMED", 5, func(ev *RunEvent) {
				ev.Commit = spacelift.Commit{Hash: "0000000000000000000000000000000000000000"}
			})},
			want: func(s *RunStatus) any { return s.Commit.AuthorLogin }, is: "",
		},
		{
			name:   "the API shows who, a notification shows when to the millisecond",
			events: []RunEvent{e("CONFIRMED", 6, api, func(ev *RunEvent) { ev.Actor = "jane"; ev.At = ev.At.Truncate(time.Second) }), e("CONFIRMED", 6, func(ev *RunEvent) { ev.At = ev.At.Add(417 * time.Millisecond) })},
			want:   func(s *RunStatus) any { return s.States[0].Actor + " " + s.States[0].At.Format("05.000") }, is: "jane 42.417",
		},
		{
			name:   "a waiting run waits since it entered the state",
			events: []RunEvent{e("UNCONFIRMED", 5), e("PLANNING", 4)},
			want:   func(s *RunStatus) any { return s.WaitingFor.Since }, is: t0.Add(35 * time.Second),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, events := range [][]RunEvent{tc.events, reversed(tc.events)} {
				r := fold(fresh(), events...)
				if diff := cmp.Diff(tc.is, tc.want(r.Status(t0))); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func reversed(events []RunEvent) []RunEvent {
	events = slices.Clone(events)
	slices.Reverse(events)
	return events
}

func TestTakeDropsWhatCannotBe(t *testing.T) {
	other := notification("TRACKED", "UNCONFIRMED", 5)
	other.Run.Run = "01KDX00000000000000000OTHER"
	nameless, negative, endless := notification("TRACKED", "", 5), notification("TRACKED", "PLANNING", -1), notification("TRACKED", spacelift.RunState(strings.Repeat("X", 1000)), 1)

	r := fresh()
	r.Take(t0, []RunEvent{other, other, nameless, negative, endless, notification("TRACKED", "QUEUED", 0)})

	s := r.Status(t0)
	if s.State != spacelift.RunStateQueued || len(s.States) != 1 {
		t.Errorf("state is %s after %d states, want QUEUED alone", s.State, len(s.States))
	}
	var notes []string
	for _, e := range s.Timeline {
		if e.Kind == KindNote {
			notes = append(notes, e.Summary)
		}
	}
	want := []string{"2 events of other runs were dropped", "3 events without a possible state were dropped"}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

// A run that Spacelift took up again under the same id continues, by what the API
// shows, though it had failed before.
func TestAnEndThatTheRunWentOnFrom(t *testing.T) {
	var history []spacelift.Transition
	for version, state := range []spacelift.RunState{"QUEUED", "FAILED", "QUEUED", "PLANNING"} {
		history = append(history, spacelift.Transition{State: state, StateVersion: version, At: t0})
	}
	for n, want := range []spacelift.RunState{"QUEUED", "FAILED", "QUEUED", "PLANNING"} {
		r := fresh()
		r.Learn(t0, spacelift.Run{Ref: testRun, Type: "TRACKED", State: want, StateVersion: n, History: history[:n+1]})
		if s := r.Status(t0); s.State != want {
			t.Errorf("after %v it is %s", history[:n+1], s.State)
		}
	}
}

// FuzzFold folds arbitrary events in the order given, and reversed and doubled.
// The seeds are real sequences; what the fuzzer makes of them need not be
// possible for a run, only harmless.
func FuzzFold(f *testing.F) {
	for _, seq := range sequences {
		var seed []byte
		for version, state := range seq.states {
			seed = append(seed, byte(slices.Index(fuzzStates, state)), byte(version), byte(version), 0)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		events := fuzzEvents(data)
		forwards := fold(fresh(), events...)
		backwards := fold(fresh(), append(reversed(events), events...)...)
		if diff := cmp.Diff(forwards.Status(t0), backwards.Status(t0)); diff != "" {
			t.Errorf("status (-in order +reversed and doubled):\n%s", diff)
		}
		ended := slices.ContainsFunc(events, func(e RunEvent) bool { return e.State.Terminal() && e.Source == SourceReconcile })
		if s := forwards.Status(t0); s.State.Terminal() != ended {
			t.Errorf("the run is %q, and it is %t that it ended", s.State, ended)
		}
	})
}

var fuzzStates = append(slices.Clone(spacelift.RunStates), "SOAKING")

// fuzzEvents reads an event from every four bytes: its state, its version, when
// it arrived, and what else is odd about it.
func fuzzEvents(data []byte) []RunEvent {
	var events []RunEvent
	for b := range slices.Chunk(data, 4) {
		if len(b) < 4 {
			break
		}
		e := notification(spacelift.RunTypeTracked, fuzzStates[int(b[0])%len(fuzzStates)], int(b[1]))
		e.ReceivedAt = t0.Add(time.Duration(b[2]) * time.Second)
		if b[3]&1 != 0 {
			e.Source = SourceReconcile
		}
		if b[3]&2 != 0 {
			e.Labels = []string{"gantry:managed"}
		}
		if b[3]&4 != 0 {
			e.Commit = spacelift.Commit{Hash: "other", AuthorLogin: string("abcdefgh"[b[3]>>5])}
		}
		if b[3]&8 != 0 {
			e.Delta = &spacelift.Delta{Deleted: int(b[3])}
		}
		if b[3]&16 != 0 {
			e.At = e.At.Add(time.Duration(b[2]) * time.Hour)
		}
		events = append(events, e)
	}
	return events
}

// What the API denies of an end or of later states, notifications can't bring
// back; what the API itself shows of them counts.
func TestDeny(t *testing.T) {
	for _, denied := range []StateKey{{500, "PLANNING"}, {3, "FAILED"}} {
		r := fresh()
		forged := notification("TRACKED", denied.State, denied.StateVersion)
		r.Take(t0, []RunEvent{notification("TRACKED", "QUEUED", 0), notification("TRACKED", "UNCONFIRMED", 5), forged})
		r.Deny(t0, []StateKey{denied})
		r.Take(t0, []RunEvent{forged})
		if now, _ := r.current(); now.State != "UNCONFIRMED" || now.StateVersion != 5 {
			t.Errorf("after %v was denied the run is %s (%d)", denied, now.State, now.StateVersion)
		}
		entries := len(r.Journal)
		r.Deny(t0, []StateKey{denied})
		if len(r.Journal) != entries {
			t.Error("what nobody believes was denied again")
		}
		forged.Source = SourceReconcile
		r.Take(t0, []RunEvent{forged})
		r.Deny(t0, []StateKey{denied})
		if now, _ := r.current(); now.State != denied.State {
			t.Errorf("the API shows %v, and the run is %s", denied, now.State)
		}
	}
}
