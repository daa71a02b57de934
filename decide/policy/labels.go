package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// LabelTooMany replaces the labels left out of an event that had more, or longer
// ones, than a history should carry. It is a label that nobody can write.
const LabelTooMany = spacelift.LabelPrefix + "(and more)"

const keyManaged = "managed"

// key is one kind of label: gantry:<name>=<value>.
type key struct {
	name   string
	value  string // the text after the =, for people
	does   string // a sentence, for people
	many   bool   // several labels of this kind add up
	follow func(r *Definitions, l *layer, value string) (problem, remedy string)
}

// grammar is every kind of label that takes a value, in the order in which they
// are followed. docs/reference/labels.md is checked against it.
var grammar = []key{
	{"profile", "NAME", "starts from the values of a configured profile; the other labels override them", false, followProfile},
	{"confirm", "manual, auto or no-deletes", "says who confirms a plan with changes: people, Gantry, or Gantry as long as nothing is deleted", false, followConfirm},
	{"approvals", "1 to 20", "says how many different people must approve where people are asked", false, followApprovals},
	{"approvers", "GROUP", "says which group they must belong to", false, followApprovers},
	{"approval-timeout", "1m to 30d", "says how long people may take, such as 90m, 24h or 2d; then the plan is discarded, unless the profile says otherwise", false, followApprovalTimeout},
	{"window", "NAME", "lets Gantry confirm only while this configured window is open", false, followWindow},
	{"retries", "0 to 10", "says how often a failed run is retried at most, for causes that a retry can fix", false, followRetries},
	{"after", "STACK", "says that this stack follows another; repeat it for several", true, followAfter},
	{"notify", "CHANNEL", "names a configured channel to notify; repeat it for several", true, followNotify},
}

type said struct{ value, label string }

type reading struct {
	said     map[string][]said // by key
	problems []Problem
}

// MayFollow reports whether labels may make a stack follow another, by any
// configuration.
func MayFollow(labels []string) bool {
	return len(readLabels(spacelift.OurLabels(labels), true).said["after"]) > 0
}

// readLabels sorts labels, as OurLabels returns them, by key.
func readLabels(labels []string, dependsOn bool) reading {
	r := reading{said: map[string][]said{}}
	object := func(label, problem, remedy string) {
		r.problems = append(r.problems, Problem{Label: label, Problem: problem, Remedy: remedy})
	}
	for _, label := range labels {
		if !spacelift.IsOurs(label) {
			if stacks, ok := strings.CutPrefix(label, spacelift.LabelDependsOn); ok && dependsOn {
				for stack := range strings.SplitSeq(stacks, ",") {
					r.said["after"] = append(r.said["after"], said{strings.TrimSpace(stack), label})
				}
			}
			continue
		}
		name, value, hasValue := strings.Cut(label[len(spacelift.LabelPrefix):], "=")
		switch {
		case label == LabelTooMany:
			object(label, "this stack has more Gantry labels, or longer ones, than Gantry keeps", "remove some")
		case !strings.HasPrefix(label, spacelift.LabelPrefix):
			object(label, "labels are case-sensitive", "write "+spacelift.LabelPrefix+strings.ToLower(name)+suffix(value, hasValue))
		case name == keyManaged && !hasValue:
		case name == keyManaged:
			object(label, "it takes no value", "write "+spacelift.LabelManaged)
		case !isKey(name):
			object(label, "Gantry knows no such label", "correct or remove it"+maybe(name))
		case value == "":
			object(label, "its value is missing", "write "+spacelift.LabelPrefix+name+"="+valueOf(name)+", or remove it")
		default:
			r.said[name] = append(r.said[name], said{value, label})
		}
	}
	return r
}

// NeedsConfiguration reports whether a label names something of the configuration,
// without which it can't be followed.
func NeedsConfiguration(label string) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(label, spacelift.LabelPrefix), "=")
	return name == "profile" || name == "window" || name == "notify"
}

func followProfile(r *Definitions, l *layer, value string) (problem, remedy string) {
	if r != nil {
		if profile, ok := r.profiles[value]; ok {
			l.Profile, l.origin = profile, "profile "+value
			return "", ""
		}
	}
	return fmt.Sprintf("there is no profile %q", value), "name one that is configured under profiles" + r.profileList()
}

func followConfirm(_ *Definitions, l *layer, value string) (problem, remedy string) {
	if mode := ConfirmMode(value); slices.Contains(ConfirmModes, mode) {
		l.Confirm = &mode
		return "", ""
	}
	return "its value is none of auto, manual and no-deletes", "write gantry:confirm=auto, gantry:confirm=manual or gantry:confirm=no-deletes"
}

func followApprovals(_ *Definitions, l *layer, value string) (problem, remedy string) {
	return numberOf(&l.Approvals, value, 1, maxApprovals), "write how many people must approve, such as gantry:approvals=2"
}

func followApprovers(_ *Definitions, l *layer, value string) (problem, remedy string) {
	if !isGroup(value) {
		return "its value is not the name of a group", "write the name of a group as tokens carry it, such as gantry:approvers=platform"
	}
	l.Approvers = &value
	return "", ""
}

func followApprovalTimeout(_ *Definitions, l *layer, value string) (problem, remedy string) {
	d, err := ParseDuration(value)
	if err != nil || !approvalTimeouts.holds(d) {
		return fmt.Sprintf("its value is not a duration within %s", approvalTimeouts), "write a duration such as gantry:approval-timeout=24h, with the units d, h and m"
	}
	l.ApprovalTimeout = &d
	return "", ""
}

func followWindow(r *Definitions, l *layer, value string) (problem, remedy string) {
	if r == nil || r.windows[value] == nil {
		return fmt.Sprintf("there is no window %q", value), "name one that is configured under windows" + r.windowList()
	}
	l.Windows = []string{value}
	return "", ""
}

func followRetries(_ *Definitions, l *layer, value string) (problem, remedy string) {
	return numberOf(&l.Retries, value, 0, maxRetries), "write how often a failed run may be retried, such as gantry:retries=2"
}

func followAfter(_ *Definitions, l *layer, value string) (problem, remedy string) {
	if err := spacelift.ValidateStack(spacelift.StackID(value)); err != nil {
		return fmt.Sprintf("its value is not the id of a stack: it %v", err), "write the stack's id as its address in Spacelift shows it, such as gantry:after=network-prod"
	}
	l.after = []string{value}
	return "", ""
}

func followNotify(r *Definitions, l *layer, value string) (problem, remedy string) {
	channel, ok := r.channel(value)
	if !ok {
		return fmt.Sprintf("there is no channel %q", value), "name one that is configured under channels" + r.channelList()
	}
	l.Notify = []string{channel}
	return "", ""
}

func fromLabel(origin string) bool {
	return strings.HasPrefix(origin, spacelift.LabelPrefix) || strings.HasPrefix(origin, spacelift.LabelDependsOn)
}

func isKey(name string) bool { return valueOf(name) != "" }

func valueOf(name string) string {
	for _, k := range grammar {
		if k.name == name {
			return k.value
		}
	}
	return ""
}

// numberOf sets a number that a label gives, without a sign or leading zeros. It
// returns the problem with the value; empty if there is none.
func numberOf(to **int, value string, least, most int) (problem string) {
	n, err := strconv.Atoi(value)
	if err != nil || strconv.Itoa(n) != value || n < least || n > most {
		return fmt.Sprintf("its value is not a number within %d and %d", least, most)
	}
	*to = &n
	return ""
}

func isGroup(s string) bool {
	return len(s) <= maxGroup && decide.CheckGroup(s) == nil
}

func suffix(value string, ok bool) string {
	if !ok {
		return ""
	}
	return "=" + strings.ToLower(value)
}

// maybe guesses the key that was meant, from its letters alone.
func maybe(name string) string {
	simple := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' {
				return r
			}
			return -1
		}, strings.ToLower(s))
	}
	meant := ""
	if simple(name) == keyManaged {
		meant = keyManaged
	}
	for _, k := range grammar {
		if simple(name) == simple(k.name) {
			meant = k.name
		}
	}
	if meant == "" {
		return ""
	}
	return fmt.Sprintf(" (meant %s%s?)", spacelift.LabelPrefix, meant)
}

func join(all []said) string {
	labels := make([]string, len(all))
	for i, s := range all {
		labels[i] = s.label
	}
	return strings.Join(labels, " and ")
}
