package spacelift

import (
	"fmt"
	"regexp"
	"strconv"
)

// Mark is Gantry's signature at the end of a note, so that a run's history proves
// which transitions Gantry made, and for which state they were decided. People
// read it as well: "Approved by ann. [gantry: confirm 5]".
type Mark struct {
	Verb         string // one of the Verb constants
	StateVersion int    // of the state that it was decided for
}

// The verbs of reviews and confirmations. EndVerb has those that end a run.
const (
	VerbConfirm = "confirm"
	VerbApprove = "approve"
	VerbReject  = "reject"
)

var markAtEnd = regexp.MustCompile(` ?\[gantry: (confirm|discard|cancel|stop|approve|reject) (\d{1,9})\]$`)

// Sign returns the note with the mark at its end.
func (m Mark) Sign(note string) string {
	if note != "" {
		note += " "
	}
	return fmt.Sprintf("%s[gantry: %s %d]", note, m.Verb, m.StateVersion)
}

// Unsigned returns a note without the mark.
func Unsigned(note string) string { return markAtEnd.ReplaceAllString(note, "") }

// MarkOf returns the mark of a transition that Gantry made. Every user of
// Spacelift can type a mark, so it doesn't count on a person's transition.
//
// Assumption: a transition that an API key made names the key as "api::…", or no
// user.
func MarkOf(t Transition) (Mark, bool) {
	found := markAtEnd.FindStringSubmatch(t.Note)
	if found == nil || t.Username != "" && !IsAPIKey(t.Username) {
		return Mark{}, false
	}
	version, err := strconv.Atoi(found[2])
	return Mark{Verb: found[1], StateVersion: version}, err == nil
}
