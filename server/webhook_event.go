package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
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

func (e *notForUs) Error() string { return e.detail }

// fromAPINotification maps a notification to a run event. The error is a
// *notForUs; the event then holds what could be read all the same, for the
// delivery log.
func fromAPINotification(n api.Notification, received time.Time) (managed.RunEvent, error) {
	e := managed.RunEvent{
		Run:        spacelift.RunRef{Account: spacelift.Account(deref(n.Account))},
		State:      spacelift.RunState(deref(n.State)),
		At:         instant(n.Timestamp, n.TimestampMillis, received),
		Note:       cut(deref(n.Note)),
		Source:     managed.SourceWebhook,
		ReceivedAt: received,
	}
	if n.StateVersion != nil && *n.StateVersion >= 0 && *n.StateVersion <= maxStateVersion {
		e.StateVersion = int(*n.StateVersion)
	}
	if n.Run != nil {
		e.Run.Run, e.Type = spacelift.RunID(deref(n.Run.ID)), spacelift.RunType(deref(n.Run.Type))
		e.Branch, e.TriggeredBy = cut(deref(n.Run.Branch)), cut(deref(n.Run.TriggeredBy))
		e.DriftDetection = deref(n.Run.DriftDetection)
		e.Commit, e.Delta = fromAPINotificationCommit(n.Run.Commit), fromAPINotificationDelta(n.Run.Delta)
	}
	if n.Stack != nil {
		e.Run.Stack, e.StackName = spacelift.StackID(deref(n.Stack.ID)), cut(deref(n.Stack.Name))
		// Only our own labels travel on: a stack may carry thousands of others,
		// and all would go into Temporal's history with each event.
		e.Labels = spacelift.OurLabels(n.Stack.Labels)
	}
	return e, unusable(n, e)
}

// unusable returns the *notForUs that keeps an event from being managed, nil
// if nothing does.
func unusable(n api.Notification, e managed.RunEvent) error {
	switch {
	case n.State == nil && n.Action != nil:
		return &notForUs{reasonAudit, fmt.Sprintf("an audit event (%s); Gantry manages runs", clean(*n.Action))}
	case n.Run == nil && (n.Severity != nil || n.Error != nil || n.Title != nil):
		return &notForUs{reasonInternalError, fmt.Sprintf("Spacelift reports an error of its own: %s: %s", clean(deref(n.Title)), clean(deref(n.Error)))}
	case n.State == nil && n.Run == nil:
		return &notForUs{reasonNotARunEvent, "the body has neither a state nor a run"}
	case n.Run == nil:
		return &notForUs{reasonRunMissing, "the body has no run"}
	case n.Stack == nil:
		return &notForUs{reasonStackMissing, "the body has no stack"}
	}
	if err := e.Run.Validate(); err != nil {
		return &notForUs{reasonInvalidID, err.Error()}
	}
	if problem := invalidName(string(e.State)); problem != "" {
		return &notForUs{reasonInvalidState, "state " + problem}
	}
	if problem := invalidName(string(e.Type)); problem != "" {
		return &notForUs{reasonInvalidState, "run.type " + problem}
	}
	if n.StateVersion == nil {
		return &notForUs{reasonInvalidStateVersion, "stateVersion is missing: the event has no place in the run"}
	}
	if *n.StateVersion < 0 || *n.StateVersion > maxStateVersion {
		return &notForUs{reasonInvalidStateVersion, fmt.Sprintf("stateVersion is %d, not within 0 and %d", *n.StateVersion, maxStateVersion)}
	}
	if !spacelift.Managed(n.Stack.Labels) {
		return &notForUs{reasonUnmanaged, fmt.Sprintf("stack %s does not carry the label %s", e.Run.Stack, spacelift.LabelManaged)}
	}
	return nil
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

func fromAPINotificationCommit(c *api.NotificationCommit) spacelift.Commit {
	if c == nil {
		return spacelift.Commit{}
	}
	return spacelift.Commit{
		Hash: cut(deref(c.Hash)), Message: cut(deref(c.Message)), URL: cut(deref(c.URL)),
		AuthorLogin: cut(deref(c.AuthorLogin)), AuthorName: cut(deref(c.AuthorName)),
	}
}

func fromAPINotificationDelta(d *api.NotificationDelta) *spacelift.Delta {
	if d == nil {
		return nil
	}
	return &spacelift.Delta{Added: deref(d.Added), Changed: deref(d.Changed), Deleted: deref(d.Deleted), Resources: deref(d.Resources)}
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
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// clean makes foreign text fit for one line of a log.
func clean(s string) string {
	return cut(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s))
}

func looksLikeJSON(body []byte) bool { return json.Valid(body) }
