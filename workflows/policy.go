package workflows

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/spacelift"
)

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
func ParsePolicy(labels []string) policy.Policy {
	byHand := policy.Setting[policy.ConfirmMode]{Value: policy.ConfirmManual, Origin: policy.OriginDefault}
	p := policy.Policy{Confirm: byHand}
	var confirms []string // readable ones, to find contradictions
	for _, label := range spacelift.OurLabels(labels) {
		if !spacelift.IsOurs(label) {
			continue // depends-on:
		}
		key, value, hasValue := strings.Cut(label[len(spacelift.LabelPrefix):], "=")
		switch {
		case label == labelTooMany:
			object(&p, label, "this stack has more Gantry labels, or longer ones, than Gantry keeps", "remove some")
		case !strings.HasPrefix(label, spacelift.LabelPrefix):
			object(&p, label, "labels are case-sensitive", "write "+spacelift.LabelPrefix+strings.ToLower(key)+suffix(value, hasValue))
		case key == keyManaged && !hasValue:
		case key == keyManaged:
			object(&p, label, "it takes no value", "write "+spacelift.LabelManaged)
		case key == keyConfirm && (value == string(policy.ConfirmAuto) || value == string(policy.ConfirmManual)):
			confirms = append(confirms, label)
			p.Confirm = policy.Setting[policy.ConfirmMode]{Value: policy.ConfirmMode(value), Origin: label}
		case key == keyConfirm && value == "no-deletes":
			object(&p, label, "this version of Gantry cannot do that yet", "write gantry:confirm=auto or gantry:confirm=manual")
		case key == keyConfirm:
			object(&p, label, "its value is neither auto nor manual", "write gantry:confirm=auto or gantry:confirm=manual")
		case slices.Contains(plannedKeys, key) && value == "":
			object(&p, label, "its value is missing", "remove it")
		case slices.Contains(plannedKeys, key):
			object(&p, label, "this version of Gantry cannot do that yet", "remove it")
		default:
			object(&p, label, "Gantry knows no such label", "correct or remove it"+maybe(key))
		}
	}
	if len(confirms) > 1 {
		object(&p, strings.Join(confirms, " and "), "they contradict each other", "remove all but one")
	}
	if len(p.Problems) > 0 {
		p.Confirm = byHand
	}
	return p
}

func object(p *policy.Policy, label, problem, remedy string) {
	p.Problems = append(p.Problems, policy.Problem{Label: label, Problem: problem, Remedy: remedy})
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
