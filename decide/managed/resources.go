package managed

import (
	"fmt"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/untrusted"
)

// Resources are the resources that a plan changes, as far as an execution keeps
// them: every plan is part of Temporal's histories. Spacelift has all of them.
type Resources struct {
	StateVersion int                  `json:"stateVersion"` // of the plan
	Total        int                  `json:"total"`
	Deletes      int                  `json:"deletes,omitempty"`
	Replaces     int                  `json:"replaces,omitempty"`
	First        []spacelift.Resource `json:"first,omitempty"` // the first, in the order of SortResources

	Incomplete bool `json:"incomplete,omitempty"` // there are more than Total: Gantry read no further

	// Unread is the reason that they are not known, as a sentence; empty if they are.
	Unread string `json:"unread,omitempty"`
}

// Bounds of what an execution keeps of a plan's resources, and of what a message
// names of each kind.
const (
	maxListed      = 20
	maxListedBytes = 4_000 // as JSON
	maxMentioned   = 10
)

// BoundResources returns what an execution keeps of the resources of a plan.
func BoundResources(planned spacelift.PlannedResources) *Resources {
	r := &Resources{StateVersion: planned.Run.StateVersion, Total: len(planned.Resources), Incomplete: !planned.Complete}
	for _, resource := range planned.Resources {
		switch resource.Change {
		case spacelift.ChangeDelete:
			r.Deletes++
		case spacelift.ChangeReplace:
			r.Replaces++
		}
	}
	size := 0
	for _, resource := range planned.Resources[:min(len(planned.Resources), maxListed)] {
		resource.Address, resource.PreviousAddress = printable(resource.Address), printable(resource.PreviousAddress)
		resource.Change = spacelift.Change(decide.Fit(string(resource.Change), maxState))
		if size += decide.SizeOf(resource); size > maxListedBytes {
			break
		}
		r.First = append(r.First, resource)
	}
	return r
}

// printable returns an address as people may be shown it, not longer than a name.
func printable(address string) string {
	return decide.Fit(untrusted.Line(address), decide.MaxName)
}

// deleted and replaced name the first resources that the plan deletes and replaces,
// and say how many there are beside; empty for none.
func (r *Resources) deleted() string { return r.mention(spacelift.ChangeDelete) }

func (r *Resources) replaced() string { return r.mention(spacelift.ChangeReplace) }

func (r *Resources) mention(change spacelift.Change) string {
	if r == nil {
		return ""
	}
	total := map[spacelift.Change]int{spacelift.ChangeDelete: r.Deletes, spacelift.ChangeReplace: r.Replaces}[change]
	var names []string
	for _, resource := range r.First {
		if resource.Change == change && len(names) < maxMentioned {
			names = append(names, resource.Address)
		}
	}
	text := decide.Fit(strings.Join(names, ", "), decide.MaxText)
	switch left := total - len(names); {
	case left == total && left > 0:
		return fmt.Sprintf("%d resources", left)
	case left > 0:
		text += fmt.Sprintf(" and %d more", left)
	}
	return text
}

// planShows reports whether the state is one in which a plan waits.
func (s *RunStatus) planShows() bool {
	return s.State == spacelift.RunStateUnconfirmed || s.State == spacelift.RunStatePendingReview
}

// Plan returns the state version of the plan that the run shows, nil if it shows none,
// and whether its resources are known.
func (s *Situation) Plan() (stateVersion *int, listed bool) {
	if !s.planShows() {
		return nil, false
	}
	return new(s.StateVersion), s.Resources != nil && s.Resources.Unread == ""
}

// takeResources takes the resources of a plan. Those that could not be read don't
// replace those that could.
func (r *Record) takeResources(at time.Time, read *Resources) {
	was := r.Resources
	if read == nil || read.Unread != "" && was != nil && was.StateVersion == read.StateVersion && was.Unread == "" {
		return
	}
	if read.Unread != "" && (was == nil || was.StateVersion != read.StateVersion) {
		r.Note(at, KindNote, "the resources that the plan changes are not known: %s", read.Unread)
	}
	r.Resources = read
}

// resources returns those of the plan that the run shows now or, once it is decided,
// of the last one; nil if they were not read.
func (r *Record) resources(s *RunStatus) *Resources {
	if r.Resources == nil || s.planShows() && r.Resources.StateVersion != s.StateVersion {
		return nil
	}
	return new(*r.Resources)
}
