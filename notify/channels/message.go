package channels

import (
	"strconv"
	"strings"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/untrusted"
)

// maxID limits ids, because receivers keep them to recognise repeats.
const maxID = 128

// validate returns an InvalidMessageError for a message that no channel can send.
func validate(m *notify.Message) error {
	var reason string
	switch {
	case m.ID == "":
		reason = "has no id"
	case len(m.ID) > maxID:
		reason = "has an id of more than " + strconv.Itoa(maxID) + " characters"
	case strings.ContainsFunc(m.ID, func(r rune) bool { return !isWord(r) && r != '-' }):
		// A full stop would make the signed text ambiguous, so the specification
		// forbids it.
		reason = "has an id with other characters than letters, digits, _ and -"
	case m.Type == "":
		reason = "has no type"
	case strings.ContainsFunc(m.Type, func(r rune) bool { return !isWord(r) && r != '.' }):
		reason = "has a type with other characters than letters, digits, _ and full stops"
	case m.At.IsZero():
		reason = "has no time"
	case m.At.Year() < 0 || m.At.Year() > 9999: // RFC 3339 has no others
		reason = "has a time outside the years 0 to 9999"
	case strings.Trim(untrusted.Line(m.Title), "\uFFFD ") == "":
		reason = "has no title"
	case m.Urgency != "" && m.Urgency != notify.Info && m.Urgency != notify.Action && m.Urgency != notify.Alarm:
		reason = "has an unknown urgency"
	default:
		return nil
	}
	return &notify.InvalidMessageError{Reason: reason}
}

func isWord(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_'
}
