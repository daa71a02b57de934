package spacelift

import (
	"fmt"
	"regexp"
	"strconv"
)

// Mark is what Gantry leaves at the end of the notes of its acts, so that a
// run's history proves which transitions are Gantry's, and for which state they
// were decided. People read it as well: "Approved by ann. [gantry: confirm 5]".
type Mark struct {
	Verb         string // what Gantry asked for: one of the Verb constants
	StateVersion int    // of the state that it was decided for
}

// The verbs of reviews and confirmations. Those that end a run are with EndVerb.
const (
	VerbConfirm = "confirm"
	VerbApprove = "approve"
	VerbReject  = "reject"
)

var markAtEnd = regexp.MustCompile(` ?\[gantry: (confirm|discard|cancel|stop|approve|reject) (\d{1,9})\]$`)

// Sign puts the mark at the end of a note.
func (m Mark) Sign(note string) string {
	if note != "" {
		note += " "
	}
	return fmt.Sprintf("%s[gantry: %s %d]", note, m.Verb, m.StateVersion)
}

// Unsigned returns a note without the mark.
func Unsigned(note string) string { return markAtEnd.ReplaceAllString(note, "") }

// MarkOf returns the mark of a transition that Gantry made. Whoever may act in
// Spacelift can write the same words, so a person's name speaks against it.
//
// Assumption: a transition that an API key made names the key as "api::…", or
// nobody.
func MarkOf(t Transition) (Mark, bool) {
	found := markAtEnd.FindStringSubmatch(t.Note)
	if found == nil || t.Username != "" && !IsAPIKey(t.Username) {
		return Mark{}, false
	}
	version, err := strconv.Atoi(found[2])
	return Mark{Verb: found[1], StateVersion: version}, err == nil
}
