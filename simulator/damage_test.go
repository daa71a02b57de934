package simulator_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// played is a snapshot with something in every corner.
func played(t *testing.T) []byte {
	r := stage(t)
	r.play([]deed{
		{6, 0, 0}, {6, 1, 2}, {0, 0, 1}, {0, 0, 4}, {0, 2, 9}, {2, 0, 21}, {4, 3, 1}, {2, 0, 20}, {7, 1, 1}, {7, 1, 4}, {5, 2, 1}, {3, 3, 0},
		{8, 2, 2}, {4, 1, 3}, {2, 0, 20}, {1, 0, 0}, {1, 5, 9}, {0, 1, 2}, {2, 0, 3},
	})
	return r.saved()
}

func restoreInto(snapshot []byte, account spacelift.Account) (*simulator.Simulator, error) {
	accept := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	return simulator.Restore(bytes.NewReader(snapshot), simulator.Options{
		Account: account, Clock: simulator.NewManualClock(epoch.Add(time.Hour)), Phases: simulator.Instant(),
		HTTPClient: &http.Client{Transport: transport{accept}},
	})
}

// What is no sound snapshot is refused with the reason.
func TestUnsoundSnapshotsAreRefused(t *testing.T) {
	sound := played(t)
	edit := func(f func(shot map[string]any)) []byte {
		var shot map[string]any
		decoder := json.NewDecoder(bytes.NewReader(sound))
		decoder.UseNumber()
		if err := decoder.Decode(&shot); err != nil {
			t.Fatal(err)
		}
		f(shot)
		out, err := json.Marshal(shot)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	item := func(shot map[string]any, list string, i int) map[string]any {
		return shot[list].([]any)[i].(map[string]any)
	}
	firstRun := func(shot map[string]any) map[string]any { return item(item(shot, "stacks", 0), "runs", 0) }
	for name, c := range map[string]struct {
		snapshot []byte
		account  spacelift.Account
		want     string
	}{
		"nothing":         {[]byte(" \n"), "", "the snapshot is empty"},
		"cut off":         {sound[:len(sound)/2], "", "the snapshot is damaged: unexpected end of JSON input"},
		"something after": {append(slices.Clone(sound), '{'), "", "the snapshot is damaged: "},
		"other JSON":      {[]byte(`{"stacks":[]}`), "", "this is not the snapshot of a simulated account"},
		"no JSON":         {[]byte("stacks:\n"), "", "this is not the snapshot of a simulated account"},
		"other version": {
			edit(func(s map[string]any) { s["version"] = 3 }), "",
			"the snapshot has version 3, but this simulator reads version 2: use the one that wrote it",
		},
		"other account": {sound, "umbrella", "the snapshot is of account acme, not of umbrella"},
		"unknown field": {edit(func(s map[string]any) { s["colour"] = "red" }), "", `the snapshot is damaged: json: unknown field "colour"`},
		"no root space": {edit(func(s map[string]any) { s["spaces"] = []any{} }), "", "it has no root space"},
		"lost space":    {edit(func(s map[string]any) { item(s, "spaces", 1)["parent"] = "nowhere" }), "", "is not below the root"},
		"space circle":  {edit(func(s map[string]any) { item(s, "spaces", 1)["parent"] = item(s, "spaces", 1)["id"] }), "", "is not below the root"},
		"no token key":  {edit(func(s map[string]any) { delete(s, "tokens") }), "", "it has no key for tokens"},
		"no random":     {edit(func(s map[string]any) { delete(s, "random") }), "", "random: "},
		"stack twice": {edit(func(s map[string]any) {
			s["stacks"] = append(s["stacks"].([]any), item(s, "stacks", 0))
		}), "", `stack "a" is there twice`},
		"lost run":       {edit(func(s map[string]any) { item(s, "stacks", 0)["runs"] = []any{} }), "", "it has no run"},
		"run of no type": {edit(func(s map[string]any) { firstRun(s)["type"] = "JOG" }), "", `there are no runs of type "JOG"`},
		"impossible history": {edit(func(s map[string]any) {
			item(firstRun(s), "history", 1)["state"] = "FINISHED"
		}), "", "a TRACKED run can't be FINISHED as version 1"},
		"no history":     {edit(func(s map[string]any) { firstRun(s)["history"] = []any{} }), "", "it has no beginning"},
		"lost neighbour": {edit(func(s map[string]any) { firstRun(s)["upstream"] = []any{"R"} }), "", "no run R"},
		"queue emptied":  {edit(func(s map[string]any) { delete(item(s, "stacks", 1), "waiting") }), "", "don't agree"},
		"lost edge":      {edit(func(s map[string]any) { item(s, "dependencies", 0)["on"] = "nowhere" }), "", "no stack nowhere"},
		"edge in a circle": {edit(func(s map[string]any) {
			item(s, "dependencies", 0)["on"] = item(s, "dependencies", 0)["stack"]
		}), "", "closes a circle"},
		"webhook twice": {edit(func(s map[string]any) {
			s["webhooks"] = append(s["webhooks"].([]any), item(s, "webhooks", 0))
		}), "", `named webhook "hook" is there twice`},
		"bad policy":    {edit(func(s map[string]any) { item(s, "policies", 0)["body"] = "package" }), "", "policy plan: "},
		"lost delivery": {edit(func(s map[string]any) { s["deliveries"] = []any{} }), "", "is not there, or queued twice"},
		"lost webhook":  {edit(func(s map[string]any) { s["webhooks"] = []any{} }), "", "no webhook at /webhooks/0"},
		"lost lanes":    {edit(func(s map[string]any) { s["lanes"] = []any{} }), "", `nothing to do when "lane-goes-on" is due`},
		"lost timers":   {edit(func(s map[string]any) { s["timers"] = []any{} }), "", "its timer doesn't fit that"},
		"other timer":   {edit(func(s map[string]any) { item(s, "timers", 0)["what"] = "tea" }), "", `nothing to do when "tea" is due`},
	} {
		t.Run(name, func(t *testing.T) {
			sim, err := restoreInto(c.snapshot, c.account)
			if err == nil {
				sim.Close()
				t.Fatalf("restored, want an error like %q", c.want)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want it to contain %q", err, c.want)
			}
		})
	}
	sim, err := restoreInto(sound, "acme")
	if err != nil {
		t.Fatalf("the sound snapshot: %v", err)
	}
	sim.Close()
}

func TestFailedPreparationRestoresNothing(t *testing.T) {
	r := stage(t)
	_, err := simulator.Restore(bytes.NewReader(r.saved()), r.opts, func(s *simulator.Simulator) error { return s.SetWebhookEndpoint("none", "x") })
	if err == nil || err.Error() != "prepare account acme: named webhook none: not found" {
		t.Errorf("error %v", err)
	}
}

// FuzzRestore damages one place of a sound snapshot: it is refused, or restores
// to an account that works.
func FuzzRestore(f *testing.F) {
	for i := range 40 {
		f.Add(uint(i*7919), byte(i))
	}
	var once sync.Once
	var sound []byte
	f.Fuzz(func(t *testing.T, place uint, kind byte) {
		once.Do(func() { sound = played(t) })
		var shot any
		if err := json.Unmarshal(sound, &shot); err != nil {
			t.Fatal(err)
		}
		count := 0
		total := damage(shot, func() bool { return false }, nil, &count)
		count = 0
		at := int(place % uint(total))
		damage(shot, func() bool { return count == at+1 }, []any{nil, "", "x", 0.0, -1.0, true, []any{}, map[string]any{}, "FINISHED", "QUEUED"}[int(kind)%10], &count)
		data, err := json.Marshal(shot)
		if err != nil {
			t.Fatal(err)
		}
		clock := simulator.NewManualClock(epoch)
		accept := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		sim, err := simulator.Restore(bytes.NewReader(data), simulator.Options{
			Clock: clock, Phases: simulator.Instant(), HTTPClient: &http.Client{Transport: transport{accept}},
		})
		if err != nil {
			return
		}
		defer sim.Close()
		for range 5 {
			clock.Advance(time.Hour)
			if err := sim.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, st := range sim.Stacks() {
			_, _ = sim.Push(st.ID, simulator.Commit{}, twoAdded)
		}
		clock.Advance(time.Hour)
	})
}

// damage walks through JSON and puts value where here says so; it returns the
// number of places there are.
func damage(v any, here func() bool, value any, count *int) int {
	visit := func(set func(any), child any) {
		*count++
		if here() {
			set(value)
			return
		}
		damage(child, here, value, count)
	}
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			visit(func(x any) { v[k] = x }, v[k])
		}
	case []any:
		for i := range v {
			visit(func(x any) { v[i] = x }, v[i])
		}
	}
	return *count
}
