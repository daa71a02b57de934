package simulator

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // schedules name time zones, and images hold no database of them

	"github.com/gantryhq/gantry/spacelift"
)

// DriftDetection is a stack's schedule of drift checks
// (https://docs.spacelift.io/concepts/stack/drift-detection). No clock runs it:
// DetectDrift makes the run that the schedule would make.
type DriftDetection struct {
	Schedule    []string `json:"schedule"`            // cron expressions; without one there is no drift detection
	Reconcile   bool     `json:"reconcile,omitempty"` // repair drift with a tracked run
	IgnoreState bool     `json:"ignoreState,omitempty"`
	Timezone    string   `json:"timezone,omitempty"` // "UTC" when empty
}

// none reports whether there is no drift detection at all.
func (d DriftDetection) none() bool {
	return len(d.Schedule) == 0 && !d.Reconcile && !d.IgnoreState && d.Timezone == ""
}

// checked returns the settings with their defaults, or an error for invalid ones.
// Assumption: a cron expression has five fields.
func (d DriftDetection) checked() (DriftDetection, error) {
	if len(d.Schedule) == 0 {
		return d, refuse("drift detection needs a schedule: a list of cron expressions, such as \"0 4 * * *\"")
	}
	for _, cron := range d.Schedule {
		if len(strings.Fields(cron)) != 5 {
			return d, refuse("schedule %q is no cron expression: it needs five fields, such as \"0 4 * * *\"", cron)
		}
	}
	if d.Timezone == "" {
		d.Timezone = "UTC"
	}
	if _, err := time.LoadLocation(d.Timezone); err != nil {
		return d, refuse("time zone %q of a drift schedule is unknown", d.Timezone)
	}
	return d, nil
}

// SetDriftDetection schedules drift checks of a stack. The zero value switches
// them off.
func (s *Simulator) SetDriftDetection(stack spacelift.StackID, d DriftDetection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.findStack(stack)
	if err == nil && !d.none() {
		d, err = d.checked()
	}
	if err != nil {
		return err
	}
	st.Drift = d
	s.touch()
	return nil
}

// DetectDrift makes the run that the stack's drift schedule would make: a
// proposed one that, with Reconcile and changes in the plan, is followed by a
// tracked one. As in Spacelift it needs a private worker pool and, without
// IgnoreState, a stack in FINISHED.
func (s *Simulator) DetectDrift(stack spacelift.StackID, p Plan) (spacelift.RunID, error) {
	return s.made(func() (*run, error) {
		st, err := s.findStack(stack)
		switch {
		case err != nil:
			return nil, err
		case st.Drift.none():
			return nil, refuse("stack %s has no drift detection", stack)
		case st.WorkerPool == "":
			return nil, refuse("drift detection needs a private worker pool")
		case !st.Drift.IgnoreState && st.State != finished, st.Drift.IgnoreState && !st.State.Terminal():
			return nil, refuse("stack %s is %s, drift is not checked", stack, st.State)
		}
		r := st.newRun(spacelift.RunTypeProposed, p, st.commitNamed(""))
		r.Drift = true
		return r, s.begin(r)
	})
}

// reconcile repairs the drift a run has found.
// Assumption: the text of triggeredBy, and that the repair is marked as drift too.
func (s *Simulator) reconcile(found *run) {
	repair := found.stack.newRun(spacelift.RunTypeTracked, found.Plan, found.Commit)
	repair.TriggeredBy, repair.Drift, repair.Pushed = "drift reconciliation", true, true
	if err := s.begin(repair); err != nil {
		s.log.Warn("drift not reconciled", "stack", found.stack.ID, "reason", err)
	}
}

// scheduleDrift schedules drift checks: the stack's first ones, or others in
// place of those that exist.
func (st *stack) scheduleDrift(d DriftDetection, exists bool) error {
	switch {
	case exists && st.Drift.none():
		return fmt.Errorf("drift detection of stack %s: %w", st.ID, ErrNotFound)
	case !exists && !st.Drift.none():
		return refuse("stack %s has drift detection", st.ID)
	}
	d, err := d.checked()
	if err == nil {
		st.Drift = d
	}
	return err
}
