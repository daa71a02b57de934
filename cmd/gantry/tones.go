package main

import (
	"strings"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
)

// tones are the colours of the words that need attention, or say that all is well.
var tones = map[string]output.Tone{
	"ok": output.Good, "FINISHED": output.Good, "finished": output.Good, "done": output.Good, "accepted": output.Good, "open": output.Good, "on": output.Good, "create": output.Good,
	"warn": output.Warn, "unknown": output.Warn, "UNCONFIRMED": output.Warn, "PENDING_REVIEW": output.Warn, "held": output.Warn, "warning": output.Warn, "late": output.Warn, "unanswered": output.Warn,
	"unavailable": output.Warn, "replace": output.Bad,
	"fail": output.Bad, "FAILED": output.Bad, "failed": output.Bad, "refused": output.Bad, "dead": output.Bad, "critical": output.Bad, "off": output.Bad, "delete": output.Bad, "DISCARDED": output.Bad, "closed": output.Bad,
	"ignored": output.Dim, "duplicate": output.Dim, "CANCELED": output.Dim, "STOPPED": output.Dim, "SKIPPED": output.Dim, "skipped": output.Dim,
}

// toneOf returns the colour of a cell, by its first word.
func toneOf(cell string) output.Tone {
	word, _, _ := strings.Cut(cell, ":")
	return tones[word]
}

// always gives each cell of a column the same colour.
func always(tone output.Tone) func(string) output.Tone {
	return func(string) output.Tone { return tone }
}
