package simulator

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// documented is the transition graph as the documentation draws it, kept apart
// from the table in machine.go: one line per type and state.
const documented = `
PROPOSED QUEUED           READY CANCELED FAILED SKIPPED
PROPOSED READY            PREPARING CANCELED
PROPOSED PREPARING        INITIALIZING FAILED
PROPOSED INITIALIZING     PLANNING FAILED STOPPED
PROPOSED PLANNING         FINISHED FAILED STOPPED PENDING_REVIEW
PROPOSED PENDING_REVIEW   FINISHED FAILED
TRACKED QUEUED            READY CANCELED FAILED SKIPPED
TRACKED READY             PREPARING CANCELED
TRACKED PREPARING         INITIALIZING FAILED
TRACKED INITIALIZING      PLANNING FAILED STOPPED
TRACKED PLANNING          FINISHED UNCONFIRMED APPLYING FAILED STOPPED
TRACKED UNCONFIRMED       CONFIRMED DISCARDED FAILED REPLAN_REQUESTED
TRACKED CONFIRMED         PREPARING_APPLY
TRACKED PREPARING_APPLY   APPLYING FAILED
TRACKED APPLYING          FINISHED FAILED
TRACKED REPLAN_REQUESTED  PREPARING_REPLAN
TRACKED PREPARING_REPLAN  PLANNING
TASK QUEUED               READY CANCELED FAILED SKIPPED
TASK READY                PREPARING CANCELED
TASK PREPARING            INITIALIZING PERFORMING FAILED
TASK INITIALIZING         PERFORMING FAILED STOPPED
TASK PERFORMING           FINISHED FAILED
TESTING QUEUED            READY CANCELED FAILED SKIPPED
TESTING READY             PREPARING CANCELED
TESTING PREPARING         INITIALIZING FAILED
TESTING INITIALIZING      PLANNING FAILED STOPPED
TESTING PLANNING          APPLYING FAILED STOPPED
TESTING APPLYING          DESTROYING
TESTING DESTROYING        FINISHED FAILED
DESTROY QUEUED            READY CANCELED FAILED SKIPPED
DESTROY READY             PREPARING CANCELED
DESTROY PREPARING         INITIALIZING FAILED
DESTROY INITIALIZING      DESTROYING FAILED STOPPED
DESTROY DESTROYING        FINISHED FAILED
`

var testEpoch = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)

func documentedGraph() map[spacelift.RunType]graph {
	graphs := map[spacelift.RunType]graph{}
	for line := range strings.Lines(strings.TrimSpace(documented)) {
		words := strings.Fields(line)
		kind := spacelift.RunType(words[0])
		if graphs[kind] == nil {
			graphs[kind] = graph{}
		}
		for _, to := range words[2:] {
			from := spacelift.RunState(words[1])
			graphs[kind][from] = append(graphs[kind][from], spacelift.RunState(to))
		}
	}
	return graphs
}

// Every transition of every type is tried; those the documentation does not draw
// are refused, leave no trace and notify nobody.
func TestOnlyDocumentedTransitionsAreTaken(t *testing.T) {
	graphs := documentedGraph()
	taken, refused := 0, 0
	for _, kind := range spacelift.RunTypes {
		for _, from := range spacelift.RunStates {
			for _, to := range spacelift.RunStates {
				s := New(Options{Clock: NewManualClock(testEpoch)})
				st, err := s.addStack(Stack{ID: "net"})
				if err != nil {
					t.Fatal(err)
				}
				r := &run{sim: s, stack: st, runRecord: runRecord{ID: "R", Type: kind, History: []spacelift.Transition{{State: from}}}}
				s.runs[r.ID], st.runs = r, append(st.runs, r)
				err = s.move(r, to, "jane", "")
				want := slices.Contains(graphs[kind][from], to)
				_, illegal := errors.AsType[*IllegalStateError](err)
				switch {
				case want && (err != nil || r.state() != to || len(r.History) != 2):
					t.Errorf("%s %s -> %s: refused: %v", kind, from, to, err)
				case !want && (!illegal || r.state() != from || len(r.History) != 1):
					t.Errorf("%s %s -> %s: taken (%v)", kind, from, to, err)
				}
				if want {
					taken++
				} else {
					refused++
				}
				s.Close()
			}
		}
	}
	if drawn := len(strings.Fields(documented)) - 2*strings.Count(strings.TrimSpace(documented), "\n") - 2; taken != drawn || refused == 0 {
		t.Errorf("%d transitions taken and %d refused, the documentation draws %d", taken, refused, drawn)
	}
}

// Each verb is tried on a run in each state.
func TestVerbsAreLegalOnlyWhereDocumented(t *testing.T) {
	verbs := map[string]struct {
		do    func(s *Simulator) error
		legal string
	}{
		"confirm": {func(s *Simulator) error { return s.Confirm("jane", "net", "R", "") }, "UNCONFIRMED"},
		"discard": {func(s *Simulator) error { return s.Discard("jane", "net", "R", "") }, "UNCONFIRMED"},
		"cancel":  {func(s *Simulator) error { return s.Cancel("jane", "net", "R", "") }, "QUEUED READY"},
		"stop":    {func(s *Simulator) error { return s.Stop("jane", "net", "R", "") }, "INITIALIZING PLANNING"},
		"replan":  {func(s *Simulator) error { return s.Replan("jane", "net", "R") }, "UNCONFIRMED"},
		"review":  {func(s *Simulator) error { return s.Review("jane", "net", "R", "APPROVE", "") }, "QUEUED UNCONFIRMED"},
		"kill": {
			func(s *Simulator) error { return s.Kill("jane", "net", "R", "") },
			"PREPARING INITIALIZING PLANNING PREPARING_APPLY APPLYING",
		},
		"retry": {
			func(s *Simulator) error { _, err := s.Retry("jane", "net", "R"); return err },
			"FINISHED FAILED DISCARDED CANCELED STOPPED SKIPPED",
		},
	}
	for name, verb := range verbs {
		for _, state := range spacelift.RunStates {
			if !slices.Contains(trackedStates(), state) {
				continue
			}
			s := New(Options{Clock: NewManualClock(testEpoch)})
			st, err := s.addStack(Stack{ID: "net", Approvals: 1, ApproveQueued: true})
			if err != nil {
				t.Fatal(err)
			}
			r := &run{sim: s, stack: st, runRecord: runRecord{ID: "R", Type: spacelift.RunTypeTracked, History: []spacelift.Transition{{State: state}}}}
			if name == "confirm" {
				r.Reviews = []Review{{Author: "ann", Decision: "APPROVE", State: unconfirmed}}
			}
			s.runs[r.ID], st.runs = r, append(st.runs, r)
			err = verb.do(s)
			want := slices.Contains(strings.Fields(verb.legal), string(state))
			if got := err == nil; got != want {
				t.Errorf("%s in %s: %v, want legal %v", name, state, err, want)
			}
			if !want && r.state() != state {
				t.Errorf("refused %s moved the run from %s to %s", name, state, r.state())
			}
			s.Close()
		}
	}
}

func trackedStates() []spacelift.RunState {
	states := []spacelift.RunState{finished, failed, discarded, canceled, stopped, skipped}
	for from := range documentedGraph()[spacelift.RunTypeTracked] {
		states = append(states, from)
	}
	return states
}

func TestSignatureVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/signature_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name, Secret, Body string
		SHA1               string `json:"X-Signature"`
		SHA256             string `json:"X-Signature-256"`
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 4 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		if sha1Header, sha256Header := signatures(v.Secret, []byte(v.Body)); sha1Header != v.SHA1 || sha256Header != v.SHA256 {
			t.Errorf("%s: %s, %s", v.Name, sha1Header, sha256Header)
		}
	}
}
