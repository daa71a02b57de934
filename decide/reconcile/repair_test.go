package reconcile

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

var (
	noon  = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	every = 2 * time.Minute
	ours  = []string{"gantry:managed"}
)

func runNamed(name string) spacelift.RunRef {
	return spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: spacelift.RunID(name)}
}

func TestRepair(t *testing.T) {
	at := func(ago time.Duration) time.Time { return noon.Add(-ago) }
	history := func(states ...spacelift.Transition) spacelift.Run {
		newest := states[len(states)-1]
		for i := range states {
			states[i].StateVersion = i
		}
		return spacelift.Run{
			Ref: runNamed("a"), Type: spacelift.RunTypeTracked, StackLabels: ours, History: states, CreatedAt: states[0].At,
			State: newest.State, StateVersion: len(states) - 1,
		}
	}
	entered := func(s spacelift.RunState, ago time.Duration) spacelift.Transition {
		return spacelift.Transition{State: s, At: at(ago)}
	}
	notified := func(version int, state spacelift.RunState, k Knowledge) Knowledge {
		k.States = append(slices.Clone(k.States), KnownState{StateKey: managed.StateKey{StateVersion: version, State: state}})
		k.State, k.StateVersion = state, version
		return k
	}
	knows := func(states ...spacelift.RunState) Knowledge {
		k := Knowledge{Exists: true, Labels: ours}
		for i, s := range states {
			k = notified(i, s, k)
		}
		return k
	}
	labelled := func(k Knowledge, labels []string) Knowledge {
		k.Labels = labels
		return k
	}
	shown := func(k Knowledge) Knowledge { // the API showed all of it
		for i := range k.States {
			k.States[i].Source = managed.SourceReconcile
		}
		return k
	}
	hole := shown(notified(2, "PLANNING", knows("QUEUED")))
	last := at(every)
	for name, tc := range map[string]struct {
		known    Knowledge
		run      spacelift.Run
		unlabel  bool
		asks     bool // an approval policy asks for a review
		do       Action
		versions []int // sent
		denied   []managed.StateKey
		ends     bool
		fresh    bool
		first    bool // Reconcile never ran before
	}{
		"adopt what nothing follows":                  {run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute)), do: Adopt, versions: []int{0, 1}},
		"a run that began since the last tick":        {run: history(entered("QUEUED", time.Minute)), do: Adopt, versions: []int{0}, fresh: true},
		"the first tick can't tell what was missed":   {run: history(entered("QUEUED", time.Minute)), first: true, do: Adopt, versions: []int{0}},
		"it ended in the meantime":                    {run: history(entered("QUEUED", time.Hour), entered("SKIPPED", time.Second)), ends: true},
		"its label went in the meantime":              {run: history(entered("QUEUED", time.Hour)), unlabel: true},
		"all is known":                                {known: knows("QUEUED", "READY"), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute))},
		"what is missing is on its way":               {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("READY", 10*time.Second))},
		"what is missing is overdue":                  {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute)), do: Notify, versions: []int{1}, fresh: true},
		"one is overdue, so all are sent":             {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute), entered("PLANNING", 0)), do: Notify, versions: []int{1, 2}, fresh: true},
		"overdue since before the last tick":          {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("READY", 10*time.Minute)), do: Notify, versions: []int{1}},
		"a hole in the middle":                        {known: hole, run: history(entered("QUEUED", time.Hour), entered("READY", time.Hour), entered("PLANNING", 0)), do: Notify, versions: []int{1}},
		"the end":                                     {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("SKIPPED", time.Minute)), do: Notify, versions: []int{1}, ends: true, fresh: true},
		"an apply, with the state before":             {known: knows("QUEUED", "PLANNING"), run: history(entered("QUEUED", time.Hour), entered("PLANNING", time.Hour), entered("APPLYING", time.Minute), entered("FINISHED", time.Minute)), do: Notify, versions: []int{1, 2, 3}, ends: true, fresh: true},
		"the end, with an apply that was notified":    {known: knows("QUEUED", "UNCONFIRMED", "CONFIRMED", "APPLYING"), run: history(entered("QUEUED", time.Hour), entered("UNCONFIRMED", time.Hour), entered("CONFIRMED", time.Hour), entered("APPLYING", time.Hour), entered("FINISHED", time.Minute)), do: Notify, versions: []int{1, 2, 4}, ends: true, fresh: true},
		"the end, after an apply that was shown":      {known: shown(knows("QUEUED", "UNCONFIRMED", "CONFIRMED")), run: history(entered("QUEUED", time.Hour), entered("UNCONFIRMED", time.Hour), entered("CONFIRMED", time.Hour), entered("FINISHED", time.Minute)), do: Notify, versions: []int{3}, ends: true, fresh: true},
		"the end, without a label no notification":    {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("SKIPPED", time.Minute)), unlabel: true, do: Notify, versions: []int{1}, ends: true},
		"its labels were repaired":                    {known: labelled(knows("QUEUED", "READY"), nil), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute)), do: Notify, versions: []int{1}},
		"they were, of an apply that was notified":    {known: labelled(knows("QUEUED", "UNCONFIRMED", "CONFIRMED"), nil), run: history(entered("QUEUED", time.Hour), entered("UNCONFIRMED", time.Hour), entered("CONFIRMED", time.Minute)), do: Notify, versions: []int{1, 2}},
		"they were a moment after it moved on":        {known: labelled(knows("QUEUED"), nil), run: history(entered("QUEUED", time.Hour), entered("READY", 10*time.Second))},
		"they were, and a hole is in the middle":      {known: labelled(hole, nil), run: history(entered("QUEUED", time.Hour), entered("READY", time.Hour), entered("PLANNING", 0)), do: Notify, versions: []int{1, 2}},
		"an approval policy asks for a review":        {known: knows("QUEUED"), asks: true, run: history(entered("QUEUED", time.Second)), do: Notify, versions: []int{0}},
		"a notification is beyond what the API shows": {known: knows("QUEUED", "READY", "PLANNING"), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute)), do: Notify, versions: []int{1}, denied: []managed.StateKey{{StateVersion: 2, State: "PLANNING"}}},
		"it is far beyond, and hides what is so":      {known: notified(500, "PLANNING", knows("QUEUED")), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute)), do: Notify, versions: []int{1}, denied: []managed.StateKey{{StateVersion: 500, State: "PLANNING"}}, fresh: true},
		"a notification of an end that is none":       {known: notified(1, "FAILED", knows("QUEUED")), run: history(entered("QUEUED", time.Hour)), do: Notify, versions: []int{0}, denied: []managed.StateKey{{StateVersion: 1, State: "FAILED"}}},
		"an end, and the run has ended otherwise":     {known: notified(1, "FAILED", knows("QUEUED")), run: history(entered("QUEUED", time.Hour), entered("SKIPPED", time.Hour)), do: Notify, versions: []int{1}, ends: true},
		"the API showed more before":                  {known: shown(knows("QUEUED", "READY", "PLANNING")), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute))},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.unlabel {
				tc.run.StackLabels = nil
			}
			tc.run.NeedsApproval = tc.asks
			before := last
			if tc.first {
				before = time.Time{}
			}
			got := RepairOf(tc.known, tc.run, noon, every, before)
			var versions []int
			for _, e := range got.Events {
				versions = append(versions, e.StateVersion)
			}
			want := Repair{Run: tc.run.Ref, Do: tc.do, Ends: tc.ends, Fresh: tc.fresh, Denied: tc.denied}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Repair{}, "Events"), cmpopts.EquateComparable(managed.StateKey{})); diff != "" {
				t.Errorf("repair (-want +got):\n%s", diff)
			}
			if !slices.Equal(versions, tc.versions) {
				t.Errorf("sent versions %v, want %v", versions, tc.versions)
			}
		})
	}
}

// Spacelift's times are whole seconds: what it says to be of the second in which the
// last tick's grace began may have happened since.
func TestRepairIsFreshToTheSecond(t *testing.T) {
	last := noon.Add(-time.Second).Add(570 * time.Millisecond)
	second := noon.Add(-time.Second) // the grace of half a second began 70 ms after it
	begun := []spacelift.Transition{{State: "QUEUED", At: second}}
	run := spacelift.Run{Ref: runNamed("a"), Type: spacelift.RunTypeTracked, StackLabels: ours, State: "QUEUED", CreatedAt: second, History: begun}
	now := last.Add(time.Second)
	if r := RepairOf(Knowledge{}, run, now, time.Second, last); r.Do != Adopt || !r.Fresh {
		t.Errorf("a run of that second: %+v", r)
	}
	run.CreatedAt, run.History = second.Add(-time.Minute), []spacelift.Transition{
		{State: "QUEUED", At: second.Add(-time.Minute)}, {State: "READY", StateVersion: 1, At: second},
	}
	run.State, run.StateVersion = "READY", 1
	known := Knowledge{Exists: true, Labels: ours, State: "QUEUED", States: []KnownState{{StateKey: managed.StateKey{State: "QUEUED"}}}}
	if r := RepairOf(known, run, now, time.Second, last); r.Do != Notify || !r.Fresh {
		t.Errorf("an event of that second: %+v", r)
	}
}

func TestBackOff(t *testing.T) {
	for _, tc := range []struct {
		limits int
		asked  time.Duration
		want   time.Duration
	}{{1, 0, every}, {2, 0, 2 * every}, {3, 0, 4 * every}, {9, 0, 15 * time.Minute}, {100, 0, 15 * time.Minute}, {1, time.Hour, time.Hour}, {3, time.Minute, 4 * every}} {
		if got := BackOff(noon, every, tc.limits, tc.asked).Sub(noon); got != tc.want {
			t.Errorf("after %d refusals that ask for %s: %s, want %s", tc.limits, tc.asked, got, tc.want)
		}
	}
}
