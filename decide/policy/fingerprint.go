package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// maxLabels bounds all labels of a stack together, in bytes as JSON: they are
// part of every event.
const maxLabels = 4_000

// TrimLabels returns the labels that Gantry reads, in one form. If they are too
// many, LabelTooMany takes the place of the rest, which no policy can read.
func TrimLabels(labels []string) []string {
	labels = spacelift.OurLabels(labels)
	size := 0
	for i, l := range labels {
		if l == LabelTooMany {
			continue
		}
		text, _ := json.Marshal(l) //workflowcheck:ignore a string has one JSON form
		if size += len(text) - len(`""`); size > maxLabels {
			return spacelift.OurLabels(append(labels[:i:i], LabelTooMany))
		}
	}
	return labels
}

// Facts are the facts about a run that no notification carries.
type Facts struct {
	State         spacelift.RunState // to which they belong
	Labels        []string           // of the stack
	NeedsApproval bool               // an approval policy of Spacelift's asks for a review
	Block         *spacelift.Block   // why Gantry may not confirm; it counts in states that ask for a decision
}

// Fingerprint identifies the facts. Executions are indexed with it, so that a
// list shows which of them know less than Spacelift does.
func (f Facts) Fingerprint() string {
	block := ""
	if f.Block != nil && f.State.NeedsDecision(f.NeedsApproval) {
		block = f.Block.Reason
	}
	return digest(fmt.Sprintf("%t %q %q", f.NeedsApproval, TrimLabels(f.Labels), block))
}

// GateFingerprint identifies what a gate depends on beside labels: the freezes that
// are in effect for a stack, and this configuration.
func (r *Definitions) GateFingerprint(freezes []Freeze, stack string, at time.Time) string {
	var ids []string
	for _, f := range freezes {
		if f.covers(stack) && f.activeAt(at) {
			ids = append(ids, f.ID)
		}
	}
	return fingerprintOf(ids, r.fingerprint())
}

// fingerprint identifies a configuration; empty without one.
func (r *Definitions) fingerprint() string {
	if r == nil {
		return ""
	}
	return r.digest
}

// Fingerprint is the GateFingerprint of what the gate was computed from.
func (g Gate) Fingerprint() string {
	var ids []string
	for _, c := range g.Closed {
		if c.Freeze != "" {
			ids = append(ids, c.Freeze)
		}
	}
	return fingerprintOf(ids, g.Config)
}

func fingerprintOf(freezes []string, config string) string {
	of := "0"
	if len(freezes) > 0 {
		slices.Sort(freezes)
		of = digest(strings.Join(freezes, "\x00"))
	}
	if config != "" {
		of += "-" + config
	}
	return of
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
