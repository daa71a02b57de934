// Package audit keeps the record of who changed what: every decision, action, refused
// attempt, sign-in and change of the configuration.
//
// Each replica has a log of its own, a folder of JSON Lines. Every line contains the hash
// of the line before it, so Verify finds a line that was changed, dropped or moved.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Result is the outcome of what an entry records.
type Result string

// The results.
const (
	Done       Result = "done"       // it took effect
	Refused    Result = "refused"    // it had no effect, by a rule
	Failed     Result = "failed"     // it had no effect, because of an error
	Unanswered Result = "unanswered" // it was sent, and may have taken effect
)

// Results lists every result.
var Results = []Result{Done, Refused, Failed, Unanswered}

// Entry is one line of the log. Empty fields do not apply.
type Entry struct {
	Sequence int64     `json:"sequence"` // 1 for the first entry of a log
	At       time.Time `json:"at"`
	Replica  string    `json:"replica"` // whose log it is

	By     string `json:"by"`            // the person or machine; Gantry for what it does by its rules
	Via    string `json:"via,omitempty"` // how By was authenticated, such as "token ci"
	Source string `json:"source,omitempty"`

	// Action is the operationId of the contract, the mutation of Spacelift's API, or one
	// of the Action constants.
	Action  string `json:"action"`
	Account string `json:"account,omitempty"`
	Stack   string `json:"stack,omitempty"`
	Run     string `json:"run,omitempty"`
	On      string `json:"on,omitempty"`   // what is changed, if it is neither a run nor a stack
	Plan    string `json:"plan,omitempty"` // fingerprint of the plan that a decision or confirmation is about

	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	Why    string `json:"why,omitempty"` // a person's note, or Gantry's reason
	Result Result `json:"result"`
	Detail string `json:"detail,omitempty"` // why it was refused or failed

	RequestID string `json:"requestId,omitempty"`
	Previous  string `json:"previous"` // hash of the entry before it; empty for the first
}

// Gantry is Entry.By of what Gantry does by its rules.
const Gantry = "Gantry"

// Actions that are neither operations of the contract nor mutations.
const (
	ActionStart   = "start"        // a process began; After is its configuration's fingerprint
	ActionReload  = "reload"       // a setting has another value in effect
	ActionToken   = "authenticate" // a request without a valid token was refused
	ActionSignOut = "signOut"      // a person ended their session
	ActionRecover = "recover"      // the log was damaged when it was opened
	ActionBypass  = "bypass"       // somebody confirmed a plan in Spacelift against the policy in effect, or it was applied unasked
)

const (
	maxText    = 2000        // bytes of a text in an entry
	hashMember = `,"hash":"` // begins the last member of a line
	lineEnd    = "\"}\n"     // ends it
)

// fit shortens the texts that others wrote.
func (e *Entry) fit() {
	for _, text := range []*string{&e.By, &e.Via, &e.Source, &e.On, &e.Before, &e.After, &e.Why, &e.Detail} {
		if len(*text) > maxText {
			*text = strings.ToValidUTF8((*text)[:maxText], "") + "…"
		}
	}
}

// line returns the entry as a line of the log, and its hash. The hash covers all bytes of
// the line before it, so no second form of the same entry has it. A line is printable
// ASCII: what others wrote can't control the terminal that shows the file.
func (e Entry) line() (line []byte, hash string, err error) {
	line, err = json.Marshal(e)
	if err != nil {
		return nil, "", fmt.Errorf("encode an entry: %w", err)
	}
	line = printable(line)
	hash = hashOf(line[:len(line)-1])
	return append(append(append(line[:len(line)-1], hashMember...), hash...), lineEnd...), hash, nil
}

// printable escapes all but printable ASCII in a JSON text, where they occur in strings
// alone.
func printable(text []byte) (all []byte) {
	for _, r := range string(text) {
		if r < utf8.RuneSelf && r != 0x7f {
			all = append(all, byte(r))
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			all = fmt.Appendf(all, "\\u%04x", unit)
		}
	}
	return all
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// lineError reports a line that is not as the log wrote it.
type lineError string

func (e lineError) Error() string { return string(e) }

// parse reads a line without its newline, and returns its hash.
func parse(line []byte) (e Entry, hash string, err error) {
	at := bytes.LastIndex(line, []byte(hashMember))
	if at < 0 || !bytes.HasSuffix(line, []byte(`"}`)) {
		return Entry{}, "", lineError("it has no hash at its end")
	}
	hash = string(line[at+len(hashMember) : len(line)-2])
	if hashOf(line[:at]) != hash {
		return Entry{}, "", lineError("its hash does not fit its content: it was changed")
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return Entry{}, "", lineError("it can't be read: " + err.Error())
	}
	return e, hash, nil
}
