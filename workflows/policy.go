package workflows

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// Policy is what a stack's labels ask of Gantry, each value with its origin.
type Policy struct {
	Confirm Setting[ConfirmMode] `json:"confirm"`

	// Problems are the labels Gantry cannot follow. While there is one, Confirm
	// is manual and plans are held: what Gantry cannot read may have been meant
	// to forbid it.
	Problems []LabelProblem `json:"problems,omitempty"`
}

// Setting is one value of a policy and where it comes from: a label as it is
// written on the stack, or OriginDefault.
type Setting[T ~string] struct {
	Value  T      `json:"value"`
	Origin string `json:"origin"`
}

// OriginDefault is the origin of values that no label sets.
const OriginDefault = "default"

// ConfirmMode says who confirms a plan with changes.
type ConfirmMode string

// The confirm modes.
const (
	ConfirmManual ConfirmMode = "manual" // a person, in Spacelift; the default
	ConfirmAuto   ConfirmMode = "auto"   // Gantry, every plan of a tracked run
)

// LabelProblem is a label Gantry cannot follow, and what to do about it.
type LabelProblem struct {
	Label   string `json:"label"`
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

const (
	keyManaged = "managed"
	keyConfirm = "confirm"

	// labelTooMany stands for the labels left out of an event that had more, or
	// longer ones, than a history should carry. It is a label nobody can write.
	labelTooMany = spacelift.LabelPrefix + "(and more)"
)

// plannedKeys are labels of the documented grammar that need a later version.
// They are named so that the remedy can be exact.
var plannedKeys = []string{
	"profile", "approvals", "approvers", "approval-timeout", "window", "retries", "after", "notify",
}

// ParsePolicy reads the policy from a stack's labels; labels that are not
// Gantry's are passed over. It is the only place that knows the grammar of
// labels. Whatever it cannot read becomes a problem of the policy.
func ParsePolicy(labels []string) Policy {
	p := Policy{Confirm: Setting[ConfirmMode]{ConfirmManual, OriginDefault}}
	var confirms []string // readable ones, to find contradictions
	for _, label := range spacelift.OurLabels(labels) {
		key, value, hasValue := strings.Cut(label[len(spacelift.LabelPrefix):], "=")
		switch {
		case label == labelTooMany:
			p.object(label, "this stack has more Gantry labels, or longer ones, than Gantry keeps", "remove some")
		case !strings.HasPrefix(label, spacelift.LabelPrefix):
			p.object(label, "labels are case-sensitive", "write "+spacelift.LabelPrefix+strings.ToLower(key)+suffix(value, hasValue))
		case key == keyManaged && !hasValue:
		case key == keyManaged:
			p.object(label, "it takes no value", "write "+spacelift.LabelManaged)
		case key == keyConfirm && (value == string(ConfirmAuto) || value == string(ConfirmManual)):
			confirms = append(confirms, label)
			p.Confirm = Setting[ConfirmMode]{ConfirmMode(value), label}
		case key == keyConfirm && value == "no-deletes":
			p.object(label, "this version of Gantry cannot do that yet", "write gantry:confirm=auto or gantry:confirm=manual")
		case key == keyConfirm:
			p.object(label, "its value is neither auto nor manual", "write gantry:confirm=auto or gantry:confirm=manual")
		case slices.Contains(plannedKeys, key) && value == "":
			p.object(label, "its value is missing", "remove it")
		case slices.Contains(plannedKeys, key):
			p.object(label, "this version of Gantry cannot do that yet", "remove it")
		default:
			p.object(label, "Gantry knows no such label", "correct or remove it"+maybe(key))
		}
	}
	if len(confirms) > 1 {
		p.object(strings.Join(confirms, " and "), "they contradict each other", "remove all but one")
	}
	if len(p.Problems) > 0 {
		p.Confirm = Setting[ConfirmMode]{ConfirmManual, OriginDefault}
	}
	return p
}

func (p *Policy) object(label, problem, remedy string) {
	p.Problems = append(p.Problems, LabelProblem{Label: label, Problem: problem, Remedy: remedy})
}

func suffix(value string, ok bool) string {
	if !ok {
		return ""
	}
	return "=" + strings.ToLower(value)
}

// maybe guesses the key somebody meant, from its letters alone.
func maybe(key string) string {
	simple := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' {
				return r
			}
			return -1
		}, strings.ToLower(s))
	}
	for _, known := range append([]string{keyManaged, keyConfirm}, plannedKeys...) {
		if simple(key) == simple(known) {
			return fmt.Sprintf(" (meant %s%s?)", spacelift.LabelPrefix, known)
		}
	}
	return ""
}
