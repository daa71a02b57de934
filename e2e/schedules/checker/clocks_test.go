package checker

import (
	"slices"
	"testing"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// While the clock of a process is ahead, Gantry may take a window for open by as much, and
// by no more.
func TestClocksApart(t *testing.T) {
	for ahead, excused := range map[time.Duration]bool{0: false, time.Minute: false, -3 * time.Minute: true, 3 * time.Minute: true} {
		s := newStory()
		s.records[1].Setup.Windows[0].Allow = []history.Period{{Start: wallStart.Add(2 * time.Minute), End: wallStart.Add(time.Hour)}}
		s.stack("s1-a", "gantry:profile=office")
		mishap := func(on bool) {
			s.add(0, rec{Mishap: &history.Mishap{Kind: "clock", On: on, Target: "one", Ahead: ahead}})
		}
		mishap(true)
		r := s.push("s1-a", "c1")
		s.confirm(r)
		mishap(false)
		s.finish(r)
		if found := slices.ContainsFunc(Check(s.end()), func(v Violation) bool { return v.Rule == "windows" }); found == excused {
			t.Errorf("%s ahead: a confirmation outside the window is found: %t", ahead, found)
		}
	}
}
