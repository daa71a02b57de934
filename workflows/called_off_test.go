package workflows

import (
	"errors"
	"testing"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// Once Gantry has called an act off, only success is an answer: an attempt that
// was under way ends with an error that says nothing about what was asked for.
func TestWhatWasCalledOffIsNoAnswer(t *testing.T) {
	refused := temporal.NewNonRetryableApplicationError("unauthorized", activities.ErrTypeUnauthorized, nil)
	for _, tc := range []struct {
		name      string
		err       error
		calledOff bool
		canceled  bool
	}{
		{"success", nil, true, false},
		{"success of what nobody called off", nil, false, false},
		{"a refusal", refused, true, true},
		{"a refusal of what nobody called off", refused, false, false},
		{"an error", errors.New("connection reset"), true, true},
		{"canceled", temporal.NewCanceledError(), true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := orCalledOff(tc.err, tc.calledOff)
			if temporal.IsCanceledError(err) != tc.canceled || !tc.canceled && !errors.Is(err, tc.err) {
				t.Errorf("the answer is %v", err)
			}
		})
	}
}

// A diagnosis that ends after the run turned out not to have failed, or to be known
// as something else by now, changes nothing.
func TestADiagnosisOfARunThatDidNotFail(t *testing.T) {
	for _, state := range []spacelift.RunState{"", spacelift.RunStatePlanning, spacelift.RunStateFinished} {
		r := fresh()
		if state != "" {
			r.Learn(T0, spacelift.Run{Ref: testRun, Type: "TRACKED", State: state, StateVersion: 4, StackLabels: []string{"gantry:managed"}})
		}
		r.TakeDiagnosis(T0, managed.Failure{Cause: "unknown", ApplyBegan: true})
		if s := r.Status(T0); s.Failure != nil || r.Diagnosed || len(r.Outbox) > 0 {
			t.Errorf("%s: failed because of %+v, messages %+v", state, s.Failure, r.Outbox)
		}
	}
}
