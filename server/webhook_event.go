package server

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/untrusted"
)

// Reasons why an authentic notification is ignored, or not stored.
const (
	reasonUnmanaged           = "unmanaged-stack"
	reasonInternalError       = "internal-error"
	reasonAudit               = "audit-event"
	reasonBodyEmpty           = "body-empty"
	reasonNotJSON             = "not-json"
	reasonUnreadable          = "unreadable"
	reasonNotARunEvent        = "not-a-run-event"
	reasonRunMissing          = "run-missing"
	reasonStackMissing        = "stack-missing"
	reasonInvalidID           = "invalid-id"
	reasonInvalidState        = "invalid-state"
	reasonInvalidStateVersion = "invalid-state-version"
	reasonUnknownAccount      = "unknown-account"
	reasonNotStored           = "not-stored"
)

// Bounds on what a notification may say. Real runs pass some dozen states;
// free text is for people and is cut, never refused.
const (
	maxStateVersion = 1_000_000
	maxName         = 100
	maxText         = 2_000
)

// notForUs says why an authentic notification starts no work.
type notForUs struct{ reason, detail string }

// mayBecomeReadable reports whether a newer Gantry may read what this one can't:
// the event may be about a managed run, so its body is kept.
func (e *notForUs) mayBecomeReadable() bool {
	switch e.reason {
	case reasonNotJSON, reasonUnreadable, reasonRunMissing, reasonStackMissing,
		reasonInvalidID, reasonInvalidState, reasonInvalidStateVersion:
		return true
	}
	return false
}

// unusable returns the *notForUs that keeps a notification from being accepted,
// nil if nothing does.
func (n *notification) unusable(body []byte) *notForUs {
	if !n.state.known && n.action.known {
		return &notForUs{reasonAudit, fmt.Sprintf("an audit event (%s); Gantry manages runs", logged(n.action.value))}
	}
	if n.mistyped != "" {
		return &notForUs{reasonUnreadable, n.mistyped}
	}
	if !n.run {
		return withoutRun(n, body)
	}
	if !n.stack {
		return &notForUs{reasonStackMissing, "the body has no stack"}
	}
	if err := n.ref().Validate(); err != nil {
		return &notForUs{reasonInvalidID, err.Error()}
	}
	if problem := invalidName(n.state.value); problem != "" {
		return &notForUs{reasonInvalidState, "state " + problem}
	}
	if problem := invalidName(n.runType.value); problem != "" {
		return &notForUs{reasonInvalidState, "run.type " + problem}
	}
	if !n.hasStateVersion {
		return &notForUs{reasonInvalidStateVersion, "stateVersion is missing: the event has no place in the run"}
	}
	if n.stateVersion < 0 || n.stateVersion > maxStateVersion {
		return &notForUs{reasonInvalidStateVersion, fmt.Sprintf("stateVersion is %d, not within 0 and %d", n.stateVersion, maxStateVersion)}
	}
	if !n.managed {
		return &notForUs{reasonUnmanaged, fmt.Sprintf("stack %s does not carry the label %s", n.stackID.value, spacelift.LabelManaged)}
	}
	return nil
}

// withoutRun says what a body without a run is.
func withoutRun(n *notification, body []byte) *notForUs {
	all, _ := decodeNotification(body)
	switch {
	case all.Severity != nil || all.Error != nil || all.Title != nil:
		return &notForUs{reasonInternalError, fmt.Sprintf("Spacelift reports an error of its own: %s: %s", logged(deref(all.Title)), logged(deref(all.Error)))}
	case !n.state.known:
		return &notForUs{reasonNotARunEvent, "the body has neither a state nor a run"}
	default:
		return &notForUs{reasonRunMissing, "the body has no run"}
	}
}

// ref returns the run that the notification names. Parts of it may be missing.
func (n *notification) ref() spacelift.RunRef {
	return spacelift.RunRef{Account: spacelift.Account(n.account.value), Stack: spacelift.StackID(n.stackID.value), Run: spacelift.RunID(n.runID.value)}
}

// describe adds what the notification says to the delivery.
func (n *notification) describe(d *archive.Delivery) {
	signer := d.Run.Account
	if d.Run = n.ref(); d.Run.Account == "" {
		d.Run.Account = signer
	}
	d.Type, d.State = spacelift.RunType(n.runType.value), spacelift.RunState(n.state.value)
	if n.stateVersion >= 0 && n.stateVersion <= maxStateVersion {
		d.StateVersion = int(n.stateVersion)
	}
}

// invalidName returns what is wrong with the name of a state or type, even an
// unknown one: names are capital words.
func invalidName(s string) string {
	switch {
	case s == "":
		return "is missing"
	case len(s) > maxName:
		return fmt.Sprintf("has %d bytes, more than %d", len(s), maxName)
	case strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && (r > unicode.MaxASCII || (!unicode.IsLetter(r) && !unicode.IsDigit(r)))
	}):
		return fmt.Sprintf("%q is not a word", s)
	}
	return ""
}

// instant prefers milliseconds, which older bodies lack. A time that no
// notification could have, such as one before Spacelift existed or beyond what
// JSON can say, is replaced by the time of receipt.
func instant(seconds, millis *int64, received time.Time) time.Time {
	var t time.Time
	switch {
	case millis != nil:
		t = time.UnixMilli(*millis).UTC()
	case seconds != nil:
		t = time.Unix(*seconds, 0).UTC()
	}
	if t.Year() < 2015 || t.After(received.Add(24*time.Hour)) {
		return received.UTC()
	}
	return t
}

// cut bounds free text, at a rune's end.
func cut(s string) string {
	return untrusted.Cut(strings.ToValidUTF8(s, "\uFFFD"), maxText, utf8.RuneLen)
}

// logged returns foreign text fit for one line of a log.
func logged(s string) string { return cut(untrusted.Line(s)) }
