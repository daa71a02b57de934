package managed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// ListedMemo is the name of the memo that lists read: a Listed. Its name and form are a
// contract with open executions and with replicas of other versions.
const ListedMemo = "gantryRun"

// Listed is the part of a run that lists show besides its search attributes. An execution begins
// with what the first events say, and writes it again only while the run waits for
// something else than Spacelift or Gantry, because each writing is an event of the history.
type Listed struct {
	StackName      string           `json:"stackName,omitempty"`
	Branch         string           `json:"branch,omitempty"`
	Commit         spacelift.Commit `json:"commit,omitzero"`
	TriggeredBy    string           `json:"triggeredBy,omitempty"`
	DriftDetection bool             `json:"driftDetection,omitempty"`
	URL            string           `json:"url,omitempty"`
	Labels         []string         `json:"labels,omitempty"`
	Chains         []ChainRef       `json:"chains,omitempty"` // without the people behind them

	// Wait has what the run waited for when this was written. It holds as long as the run
	// is in the same phase.
	Wait *ListedWait `json:"wait,omitempty"`
}

// ListedWait is the wait of a run: for what, and from whom.
type ListedWait struct {
	Phase        Phase               `json:"phase"`
	StateVersion int                 `json:"stateVersion"`
	For          WaitingFor          `json:"for"`
	Approvals    *Approvals          `json:"approvals,omitempty"`
	Ballot       *Ballot             `json:"ballot,omitempty"`
	Resources    *Resources          `json:"resources,omitempty"`
	Enforcement  *policy.Enforcement `json:"enforcement,omitempty"`
}

// Waits reports whether a run in the phase waits for something else than Spacelift's or
// Gantry's own work. Lists show what for.
func (p Phase) Waits() bool { return slices.Contains(WaitingPhases, p) }

// WaitingPhases are the phases in which runs wait: see Waits.
var WaitingPhases = []Phase{PhaseWaiting, PhaseHolding, PhaseRetrying}

// Bounds of a Listed: Temporal warns about memos of more than 2 KiB.
const (
	maxListedText      = 300
	maxListedName      = 120
	maxListedDecisions = 5
	maxListedResources = 5
)

// ListRun returns what lists show of a run.
func ListRun(s *RunStatus) Listed {
	l := Listed{
		StackName: decide.Fit(s.StackName, maxListedName), Branch: decide.Fit(s.Branch, maxListedName), Commit: s.Commit,
		TriggeredBy: decide.Fit(s.TriggeredBy, maxListedName), DriftDetection: s.DriftDetection, URL: s.URL, Labels: s.Labels,
	}
	subject, _, _ := strings.Cut(l.Commit.Message, "\n")
	l.Commit.Message = decide.Fit(subject, maxListedName)
	for _, c := range s.Chains {
		l.Chains = append(l.Chains, ChainRef{Root: c.Root, After: c.After})
	}
	if s.Phase.Waits() && s.WaitingFor != nil {
		l.Wait = listWait(s)
	}
	return l
}

func listWait(s *RunStatus) *ListedWait {
	w := &ListedWait{Phase: s.Phase, StateVersion: s.StateVersion, For: *s.WaitingFor, Ballot: s.Ballot, Enforcement: s.Enforcement}
	w.For.Reason, w.For.Who, w.For.Next = decide.Fit(w.For.Reason, maxListedText), decide.Fit(w.For.Who, maxListedText), decide.Fit(w.For.Next, maxListedText)
	if s.Approvals != nil {
		a := *s.Approvals
		a.Decided = slices.Clone(a.Decided[max(0, len(a.Decided)-maxListedDecisions):])
		for i := range a.Decided {
			a.Decided[i].Note = decide.Fit(a.Decided[i].Note, maxListedName)
		}
		w.Approvals = &a
	}
	if s.Resources != nil {
		r := *s.Resources
		r.First = slices.Clone(r.First[:min(len(r.First), maxListedResources)])
		for i := range r.First {
			r.First[i].Address, r.First[i].PreviousAddress = decide.Fit(r.First[i].Address, maxListedName), decide.Fit(r.First[i].PreviousAddress, maxListedName)
		}
		w.Resources = &r
	}
	return w
}

// Differs reports whether a list would show something else that is worth an event of the
// history. Sentences alone are not, nor is the time of the next attempt to reach Spacelift.
func (l Listed) Differs(from Listed) bool { return !bytes.Equal(l.facts(), from.facts()) }

// facts returns what an event is worth, as JSON: that is the same for a time in two zones.
func (l Listed) facts() []byte {
	text, _ := json.Marshal(l.withoutSentences()) //workflowcheck:ignore structs of plain values have one JSON form
	return text
}

func (l Listed) withoutSentences() Listed {
	if l.Wait == nil {
		return l
	}
	w := *l.Wait
	w.For.Reason, w.For.Who, w.For.Next = "", "", ""
	if w.For.What == WaitAnswer {
		w.For.Until = time.Time{}
	}
	if w.Enforcement != nil {
		w.Enforcement = &policy.Enforcement{Level: w.Enforcement.Level}
	}
	l.Wait = &w
	return l
}

// listedPlan returns the size of a plan as a search attribute has it, such as
// "+1 ~0 -9 of 42"; empty if it isn't known.
func listedPlan(d *spacelift.Delta) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf(planFormat, d.Added, d.Changed, d.Deleted, d.Resources)
}

const planFormat = "+%d ~%d -%d of %d"

// ParseListedPlan returns the size of a plan in a search attribute; nil if it has none.
func ParseListedPlan(text string) *spacelift.Delta {
	var d spacelift.Delta
	if n, err := fmt.Sscanf(text, planFormat, &d.Added, &d.Changed, &d.Deleted, &d.Resources); err != nil || n != 4 {
		return nil
	}
	return &d
}

// changedFormat orders times as texts, in any collation of a database.
const changedFormat = "20060102T150405.000000Z"

// ListedTime returns a time as the search attribute AttrChanged has it.
func ListedTime(t time.Time) string { return t.UTC().Format(changedFormat) }

// ParseListedTime returns the time in AttrChanged; zero if it has none.
func ParseListedTime(text string) time.Time {
	t, err := time.Parse(changedFormat, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Authors are the names of those who triggered the run or wrote its commit.
func (l Listed) Authors() []string {
	return slices.DeleteFunc([]string{l.TriggeredBy, l.Commit.AuthorLogin, l.Commit.AuthorName}, func(name string) bool { return name == "" })
}
