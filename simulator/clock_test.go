package simulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/simulator"
)

func TestManualClock(t *testing.T) {
	clock := simulator.NewManualClock(epoch)
	var log []string
	note := func(s string) func() {
		return func() { log = append(log, s+"@"+clock.Now().Sub(epoch).String()) }
	}
	clock.AfterFunc(2*time.Second, note("b"))
	clock.AfterFunc(time.Second, func() {
		note("a")()
		clock.AfterFunc(500*time.Millisecond, note("a2")) // falls due within the same Advance
		clock.AfterFunc(time.Hour, note("late"))
	})
	clock.AfterFunc(2*time.Second, note("c")) // after b, which was set first
	stop := clock.AfterFunc(time.Second, note("stopped"))
	stop()
	clock.AfterFunc(-time.Second, note("past"))
	if len(log) > 0 {
		t.Errorf("ran before Advance: %v", log)
	}
	clock.Advance(3 * time.Second)
	if got, want := strings.Join(log, " "), "past@0s a@1s a2@1.5s b@2s c@2s"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if now := clock.Now(); !now.Equal(epoch.Add(3 * time.Second)) {
		t.Errorf("clock shows %s", now)
	}
}
