package managed

import (
	"fmt"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// sequence is the states of one run, in order; the index is the state version.
type sequence struct {
	name   string
	typ    spacelift.RunType
	states []spacelift.RunState
}

// sequences are the ways runs go, as documented for Spacelift
// (https://docs.spacelift.io/concepts/run) or inferred from it.
var sequences = []sequence{
	{"tracked, no changes", "TRACKED", along("QUEUED READY PREPARING INITIALIZING PLANNING FINISHED")},
	{"tracked, manual", "TRACKED", along("QUEUED READY PREPARING INITIALIZING PLANNING UNCONFIRMED CONFIRMED PREPARING_APPLY APPLYING FINISHED")},
	{"tracked, autodeploy", "TRACKED", along("QUEUED READY PREPARING INITIALIZING PLANNING APPLYING FINISHED")},
	{"tracked, discarded", "TRACKED", along("QUEUED READY PREPARING INITIALIZING PLANNING UNCONFIRMED DISCARDED")},
	{"tracked, replan", "TRACKED", along("QUEUED READY PREPARING INITIALIZING PLANNING UNCONFIRMED REPLAN_REQUESTED PREPARING_REPLAN PLANNING UNCONFIRMED CONFIRMED PREPARING_APPLY APPLYING FINISHED")},
	{"tracked, failed while applying", "TRACKED", along("QUEUED READY PREPARING INITIALIZING PLANNING UNCONFIRMED CONFIRMED PREPARING_APPLY APPLYING FAILED")},
	{"proposed", "PROPOSED", along("QUEUED READY PREPARING INITIALIZING PLANNING FINISHED")},
	{"proposed, reviewed", "PROPOSED", along("QUEUED READY PREPARING INITIALIZING PLANNING PENDING_REVIEW FINISHED")},
	{"proposed, stopped", "PROPOSED", along("QUEUED READY PREPARING INITIALIZING PLANNING STOPPED")},
	{"task", "TASK", along("QUEUED READY PREPARING INITIALIZING PERFORMING FINISHED")},
	{"module test", "TESTING", along("QUEUED READY PREPARING INITIALIZING PLANNING APPLYING DESTROYING FINISHED")},
	{"cancelled while queued", "TRACKED", along("QUEUED CANCELED")},
	{"dependency skip", "TRACKED", along("QUEUED SKIPPED")},
}

func along(states string) (list []spacelift.RunState) {
	for s := range strings.FieldsSeq(states) {
		list = append(list, spacelift.RunState(s))
	}
	return list
}

// events are the notifications of a run that goes this way, each a few seconds
// after the one before; its end is read from the API.
func (s sequence) events() []RunEvent {
	events := make([]RunEvent, len(s.states))
	for version, state := range s.states {
		events[version] = notification(s.typ, state, version)
		if state.Terminal() {
			events[version].Source, events[version].Whole = SourceReconcile, true
		}
	}
	return events
}

// Notification returns a notification of a run of a stack that is managed and
// confirmed automatically.
func notification(typ spacelift.RunType, state spacelift.RunState, version int) RunEvent {
	entered := t0.Add(time.Duration(version) * 7 * time.Second)
	e := RunEvent{
		Run: testRun, Type: typ, State: state, StateVersion: version, At: entered,
		Branch:    "main",
		Commit:    spacelift.Commit{Hash: "9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12", Message: "Widen private subnets", AuthorLogin: "jdoe", AuthorName: "Jane Doe"},
		StackName: "network / prod",
		Labels:    []string{"gantry:confirm=auto", "gantry:managed"},
		Source:    SourceWebhook, Delivery: fmt.Sprintf("delivery-%02d", version), ReceivedAt: entered.Add(time.Second),
	}
	if version >= 5 {
		e.Delta = &spacelift.Delta{Added: 3, Changed: 1, Resources: 42}
	}
	return e
}
