package workflows

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

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

func TestCandidates(t *testing.T) {
	line := func(labels []string, age time.Duration) spacelift.RunLine {
		return spacelift.RunLine{Ref: runNamed("a"), State: spacelift.RunStatePlanning, StackLabels: labels, CreatedAt: noon.Add(-age)}
	}
	open := func(s spacelift.RunState) []openRun {
		return []openRun{{Run: runNamed("a"), State: s, Phase: PhasePlanning}}
	}
	waiting := func(p Phase) []openRun {
		return []openRun{{Run: runNamed("a"), State: spacelift.RunStatePlanning, Phase: p}}
	}
	asking := func(l spacelift.RunLine) spacelift.RunLine {
		l.NeedsApproval = true
		return l
	}
	for name, tc := range map[string]struct {
		lines []spacelift.RunLine
		open  []openRun
		owed  []runKey
		seen  []sighting
		want  *candidate
	}{
		"nothing is known of it":                     {lines: []spacelift.RunLine{line(ours, time.Hour)}, want: &candidate{Listed: true, State: spacelift.RunStatePlanning}},
		"nothing is known of it yet":                 {lines: []spacelift.RunLine{line(ours, 20*time.Second)}},
		"its stack is not managed":                   {lines: []spacelift.RunLine{line([]string{"env:prod"}, time.Hour)}},
		"its stack is not managed any more":          {lines: []spacelift.RunLine{line(nil, time.Hour)}, open: open("QUEUED"), want: &candidate{Listed: true, State: spacelift.RunStatePlanning}},
		"its execution shows another state":          {lines: []spacelift.RunLine{line(ours, time.Second)}, open: open("QUEUED"), want: &candidate{Listed: true, State: spacelift.RunStatePlanning}},
		"its execution shows no state yet":           {lines: []spacelift.RunLine{line(ours, time.Second)}, open: open(""), want: &candidate{Listed: true, State: spacelift.RunStatePlanning}},
		"its execution shows the same state":         {lines: []spacelift.RunLine{line(ours, time.Hour)}, open: open("PLANNING")},
		"it waits, and what is shown is new":         {lines: []spacelift.RunLine{line(ours, time.Hour)}, open: waiting(PhaseWaiting), want: &candidate{Listed: true, State: spacelift.RunStatePlanning}},
		"it is held, and what is shown is new":       {lines: []spacelift.RunLine{line(ours, time.Hour)}, open: waiting(PhaseHolding), want: &candidate{Listed: true, State: spacelift.RunStatePlanning}},
		"it waits, and its execution knows that":     {lines: []spacelift.RunLine{line(ours, time.Hour)}, open: waiting(PhaseWaiting), seen: []sighting{sightingOf(line(ours, 0))}},
		"it waits, and its labels are others now":    {lines: []spacelift.RunLine{line(ours, time.Hour)}, open: waiting(PhaseWaiting), seen: []sighting{sightingOf(line(nil, 0))}, want: &candidate{Listed: true, State: spacelift.RunStatePlanning}},
		"an approval policy asks for a review":       {lines: []spacelift.RunLine{asking(line(ours, time.Hour))}, open: open("PLANNING"), seen: []sighting{sightingOf(line(ours, 0))}, want: &candidate{Listed: true, State: spacelift.RunStatePlanning, NeedsApproval: true}},
		"that is known":                              {lines: []spacelift.RunLine{asking(line(ours, time.Hour))}, open: waiting(PhaseWaiting), seen: []sighting{sightingOf(asking(line(ours, 0)))}},
		"it no longer does":                          {lines: []spacelift.RunLine{line(ours, time.Hour)}, open: waiting(PhaseWaiting), seen: []sighting{sightingOf(asking(line(ours, 0)))}, want: &candidate{Listed: true, State: spacelift.RunStatePlanning}},
		"its execution shows the same, but is owed":  {lines: []spacelift.RunLine{line(ours, time.Hour)}, open: open("PLANNING"), owed: []runKey{"network-prod/a"}, want: &candidate{Listed: true, State: spacelift.RunStatePlanning, Whole: true}},
		"it is owed and followed by nothing":         {lines: []spacelift.RunLine{line(nil, time.Hour)}, owed: []runKey{"network-prod/a"}},
		"it is followed and no longer in progress":   {open: open("APPLYING"), want: &candidate{}},
		"nothing is in progress and nothing is open": {},
	} {
		t.Run(name, func(t *testing.T) {
			s := survey{at: noon, interval: every, lines: tc.lines, open: tc.open}
			got, waiting := s.candidates(carried{Owed: tc.owed, Seen: tc.seen}, 10)
			var want []candidate
			if tc.want != nil {
				tc.want.Run = runNamed("a")
				want = []candidate{*tc.want}
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(candidate{}, "Labels")); diff != "" || len(waiting) != 0 {
				t.Errorf("%d wait; candidates (-want +got):\n%s", len(waiting), diff)
			}
		})
	}
}

// However many runs there are and however they come and go, one that needs a
// look gets it before any other gets it twice.
func TestNoRunStarves(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const limit = 3
		looked, c := map[runKey]int{}, carried{}
		stays := runKey("network-prod/stays")
		names := []string{"stays"}
		longest := 0
		for tick := range 40 {
			for i := range rapid.IntRange(0, 4).Draw(rt, "new") {
				names = append(names, fmt.Sprintf("%c-%d-%d", rapid.RuneFrom([]rune("az")).Draw(rt, "name"), tick, i))
			}
			var open []openRun
			for _, n := range names {
				open = append(open, openRun{Run: runNamed(n), State: "QUEUED"})
			}
			var now []candidate
			now, c.Waiting = survey{at: noon, interval: every, open: open}.candidates(c, limit)
			longest = max(longest, len(open))
			for _, n := range now {
				looked[keyOf(n.Run)]++
				if n.Run.Run != "stays" { // the others need one look only
					names = slices.DeleteFunc(names, func(name string) bool { return name == string(n.Run.Run) })
				}
			}
			if len(now) != min(limit, len(open)) || len(now)+len(c.Waiting) != len(open) {
				rt.Fatalf("of %d runs %d are looked at and %d wait", len(open), len(now), len(c.Waiting))
			}
		}
		if least := 40*limit/(longest+limit) - 1; looked[stays] < least {
			rt.Errorf("the run that stays was looked at %d times among at most %d, want %d", looked[stays], longest, least)
		}
	})
}

func TestMend(t *testing.T) {
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
	knows := func(states ...spacelift.RunState) knowledge {
		k := knowledge{exists: true, labels: ours}
		for i, s := range states {
			k.states, k.state = append(k.states, stateKey{i, s}), s
		}
		return k
	}
	labelled := func(k knowledge, labels []string) knowledge {
		k.labels = labels
		return k
	}
	last := at(every)
	for name, tc := range map[string]struct {
		known    knowledge
		run      spacelift.Run
		unlabel  bool
		asks     bool // an approval policy asks for a review
		do       mending
		versions []int // told
		ends     bool
		fresh    bool
		first    bool // Reconcile never ran before
	}{
		"adopt what nothing follows":                  {run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute)), do: mendAdopt, versions: []int{0, 1}},
		"a run that began since the last tick":        {run: history(entered("QUEUED", time.Minute)), do: mendAdopt, versions: []int{0}, fresh: true},
		"the first tick can't tell what was missed":   {run: history(entered("QUEUED", time.Minute)), first: true, do: mendAdopt, versions: []int{0}},
		"it ended in the meantime":                    {run: history(entered("QUEUED", time.Hour), entered("SKIPPED", time.Second)), ends: true},
		"its label went in the meantime":              {run: history(entered("QUEUED", time.Hour)), unlabel: true},
		"all is known":                                {known: knows("QUEUED", "READY"), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute))},
		"what is missing is on its way":               {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("READY", 10*time.Second))},
		"what is missing is overdue":                  {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute)), do: mendTell, versions: []int{1}, fresh: true},
		"one is overdue, so all are told":             {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute), entered("PLANNING", 0)), do: mendTell, versions: []int{1, 2}, fresh: true},
		"overdue since before the last tick":          {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("READY", 10*time.Minute)), do: mendTell, versions: []int{1}},
		"a hole in the middle":                        {known: knowledge{exists: true, states: []stateKey{{0, "QUEUED"}, {2, "PLANNING"}}}, run: history(entered("QUEUED", time.Hour), entered("READY", time.Hour), entered("PLANNING", 0)), do: mendTell, versions: []int{1}},
		"the end":                                     {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("SKIPPED", time.Minute)), do: mendTell, versions: []int{1}, ends: true, fresh: true},
		"the end, without a label nobody would tell":  {known: knows("QUEUED"), run: history(entered("QUEUED", time.Hour), entered("SKIPPED", time.Minute)), unlabel: true, do: mendTell, versions: []int{1}, ends: true},
		"its labels were mended":                      {known: labelled(knows("QUEUED", "READY"), nil), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute)), do: mendTell, versions: []int{1}},
		"they were a moment after it moved on":        {known: labelled(knows("QUEUED"), nil), run: history(entered("QUEUED", time.Hour), entered("READY", 10*time.Second))},
		"they were, and a hole is in the middle":      {known: labelled(knowledge{exists: true, state: "PLANNING", states: []stateKey{{0, "QUEUED"}, {2, "PLANNING"}}}, nil), run: history(entered("QUEUED", time.Hour), entered("READY", time.Hour), entered("PLANNING", 0)), do: mendTell, versions: []int{1, 2}},
		"an approval policy asks for a review":        {known: knows("QUEUED"), asks: true, run: history(entered("QUEUED", time.Second)), do: mendTell, versions: []int{0}},
		"the execution knows more, and other labels":  {known: labelled(knows("QUEUED", "READY", "PLANNING"), nil), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute))},
		"the execution knows more than the API shows": {known: knows("QUEUED", "READY", "PLANNING"), run: history(entered("QUEUED", time.Hour), entered("READY", time.Minute))},
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
			got := mend(tc.known, tc.run, noon, every, before)
			var versions []int
			for _, e := range got.Events {
				versions = append(versions, e.StateVersion)
			}
			want := repair{Run: tc.run.Ref, Do: tc.do, Ends: tc.ends, Fresh: tc.fresh}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(repair{}, "Events")); diff != "" {
				t.Errorf("repair (-want +got):\n%s", diff)
			}
			if !slices.Equal(versions, tc.versions) {
				t.Errorf("told of versions %v, want %v", versions, tc.versions)
			}
		})
	}
}

func TestBackOff(t *testing.T) {
	for _, tc := range []struct {
		limits int
		asked  time.Duration
		want   time.Duration
	}{{1, 0, every}, {2, 0, 2 * every}, {3, 0, 4 * every}, {9, 0, 15 * time.Minute}, {100, 0, 15 * time.Minute}, {1, time.Hour, time.Hour}, {3, time.Minute, 4 * every}} {
		if got := backOff(noon, every, tc.limits, tc.asked).Sub(noon); got != tc.want {
			t.Errorf("after %d refusals that ask for %s: %s, want %s", tc.limits, tc.asked, got, tc.want)
		}
	}
}

func TestRunOf(t *testing.T) {
	for id, want := range map[string]bool{
		ManageRunID(runNamed("a")): true, "run/acme/network-prod": false, "reconcile/acme/x/y": false, "run/acme//a": false, "": false,
	} {
		ref, ok := runOf(id)
		if ok != want || ok && ref != runNamed("a") {
			t.Errorf("%q is %v, %s", id, ok, ref)
		}
	}
}
