package rig

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/spacelift"
)

func TestAnAnswerShowsRunsAndStacks(t *testing.T) {
	confirmed, _ := seen([]byte(`{"runConfirm":{"id":"01L","type":"TRACKED","state":"CONFIRMED"}}`))
	runs, stacks := seen([]byte(`{"searchRuns":{"edges":[{"node":{
		"run":{"id":"01J","type":"TRACKED","state":"QUEUED"},
		"stack":{"id":"s1-a","labels":["x"],"lockedBy":"max","isDisabled":true}}}]},
		"stack":{"id":"s2-a","labels":[],"run":{"id":"01K","type":"TRACKED","state":"PLANNING","history":[{"stateVersion":4},{"stateVersion":3}]}}}`))
	runs = append(runs, confirmed...)
	slices.SortFunc(runs, func(a, b history.RunSeen) int { return strings.Compare(a.Run, b.Run) })
	slices.SortFunc(stacks, func(a, b history.StackSeen) int { return strings.Compare(a.Stack, b.Stack) })
	if diff := cmp.Diff([]history.RunSeen{
		{Stack: "s1-a", Run: "01J", State: "QUEUED", Version: -1}, {Stack: "s2-a", Run: "01K", State: "PLANNING", Version: 4}, {Run: "01L", State: "CONFIRMED", Version: -1},
	}, runs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]history.StackSeen{{Stack: "s1-a", Labels: []string{"x"}, LockedBy: "max", Disabled: true}, {Stack: "s2-a", Labels: []string{}}}, stacks); diff != "" {
		t.Error(diff)
	}
}

// A program that ends while it starts is started again, as under a supervisor: what is
// under way with it continues.
func TestAProgramThatEndsAtItsStartStartsAgain(t *testing.T) {
	dir := t.TempDir()
	failed, up := filepath.Join(dir, "failed"), filepath.Join(dir, "up")
	p := &Process{
		Name: "replica-1", history: history.NewWriter(io.Discard), log: filepath.Join(dir, "log"),
		command: func() *exec.Cmd {
			return exec.Command("sh", "-c", "[ -e "+failed+" ] || { touch "+failed+"; exit 1; }; touch "+up+"; exec sleep 600")
		},
		ready: func(context.Context) error { _, err := os.Stat(up); return err },
	}
	t.Cleanup(p.Kill)
	if err := p.Start(t.Context()); err != nil || !p.running() {
		t.Errorf("%v; it runs: %v", err, p.running())
	}
}

// far is a replica that keeps what arrives.
type far struct {
	mu     sync.Mutex
	bodies []string
	forged int // with a signature of the live secret
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // a test's own request
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies = append(f.bodies, string(body))
	if r.Header.Get("X-Signature-256") == spacelift.Sign([]byte("live"), body) {
		f.forged++
	}
	w.WriteHeader(http.StatusAccepted)
}

func TestEachMishapBefallsADelivery(t *testing.T) {
	for _, tc := range []struct {
		weather  Weather
		status   int
		arrivals int
		mishaps  []string // in the history
	}{
		{Weather{}, 202, 1, []string{""}},
		{Weather{Drop: 1}, 202, 0, []string{"drop"}},
		{Weather{Double: 1}, 202, 2, []string{"double", "double"}},
		{Weather{Delay: 1}, 202, 1, []string{"delay"}},
		{Weather{Reorder: 1}, 202, 1, []string{"reorder"}},
		{Weather{Cut: 1}, 502, 1, []string{"cut"}},
		{Weather{Refuse: 1}, 502, 0, []string{"refuse"}},
		{Weather{Forge: 1}, 202, 2, []string{"", "forged-"}},
	} {
		t.Run(fmt.Sprintf("%+v", tc.weather), func(t *testing.T) {
			replica := &far{}
			server := httptest.NewServer(replica)
			defer server.Close()
			var log bytes.Buffer
			h := history.NewWriter(&log)
			b := newBalancer(h, 1, "live")
			g := &Gantry{Process: &Process{Name: "replica-1"}, URL: server.URL}
			b.replicas = []*Gantry{g, g}
			b.SetWeather(tc.weather)
			w := httptest.NewRecorder()
			body := `{"account":"acme","state":"PLANNING","stateVersion":4,"run":{"id":"01J"},"stack":{"id":"s1-a"}}`
			b.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", strings.NewReader(body)))
			b.Flush()
			if w.Code != tc.status || len(replica.bodies) != tc.arrivals {
				t.Errorf("answered %d, and %d arrived; want %d and %d", w.Code, len(replica.bodies), tc.status, tc.arrivals)
			}
			if err := h.Flush(); err != nil {
				t.Fatal(err)
			}
			records, err := history.Load(&log)
			if err != nil || len(records) != len(tc.mishaps) {
				t.Fatalf("%d records, %v; want %d", len(records), err, len(tc.mishaps))
			}
			for i, r := range records {
				got := r.Delivery.Mishap
				if r.Delivery.Forged() {
					got = "forged-"
				}
				if got != tc.mishaps[i] || r.Schedule != 1 {
					t.Errorf("record %d: %q of schedule %d, want %q", i, got, r.Schedule, tc.mishaps[i])
				}
			}
		})
	}
}

// Each forgery differs from the notification that it was made of.
func TestForgeriesDiffer(t *testing.T) {
	if diff := cmp.Diff(slices.Sorted(slices.Values(forgeryKinds)), slices.Sorted(maps.Keys(forgeries))); diff != "" {
		t.Error(diff)
	}
	for kind, forge := range forgeries {
		fields := map[string]any{"state": "PLANNING", "stateVersion": 4.0, "account": "acme"}
		before := maps.Clone(fields)
		forge(fields, rand.New(rand.NewPCG(1, 1)))
		if cmp.Equal(before, fields) != (kind == "forged-secret") {
			t.Errorf("%s: %v", kind, fields)
		}
	}
}
