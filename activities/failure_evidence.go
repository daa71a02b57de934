package activities

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Where evidence was found.
const (
	sourceNote    = "note"
	sourceLog     = "log"
	sourceHistory = "history"
)

// diagnose returns why a run failed, from the note of its last state and the end
// of the failed phase's log, if there is one.
//
// The person or policy that failed the run comes before any text: a person's words
// may name any trouble. When several causes show in texts, the one that retrying
// cannot fix wins: a useless retry is worse than one more run that a person checks.
func diagnose(run spacelift.Run, note, log string) Diagnosis {
	d := unknownCause(run)
	phase, known := failedPhase(run)
	if known {
		d.Phase = phase.State
	}
	if known && decided(phase, newest(run)) {
		return d.decidedBy(phase, newest(run))
	}
	texts := []struct {
		source string
		lines  []string
	}{{sourceNote, lines(note)}, {sourceLog, failing(log)}}
	for _, kind := range byWeight {
		for _, text := range texts {
			for _, line := range text.lines {
				if shows := shown(kind, line); shows != nil {
					d.Cause, d.Source, d.Evidence = kind, text.source, quote(line, shows)
					return d
				}
			}
		}
	}
	for _, text := range texts {
		if len(text.lines) > 0 {
			d.Source, d.Evidence = text.source, quote(text.lines[0], nil)
			return d
		}
	}
	return d
}

// decided reports whether a person's act or a policy failed a run, rather than
// trouble. Spacelift names the person who made a transition, and none for a machine
// (https://docs.spacelift.io/concepts/policy/notification-policy).
//
// Nothing but a rejection fails a run that waits for people
// (https://docs.spacelift.io/concepts/policy/approval-policy). In the queue it is
// a rejection or the verdict on an external dependency, unless Spacelift misses
// the inputs of a dependency.
func decided(phase, end spacelift.Transition) bool {
	switch {
	case end.Username != "", phase.State == spacelift.RunStateUnconfirmed, phase.State == spacelift.RunStatePendingReview:
		return true
	case phase.State == spacelift.RunStateQueued:
		return shown(policy.CauseCode, end.Note) == nil
	}
	return false
}

// decidedBy returns the diagnosis of a run that a person or a policy failed.
func (d Diagnosis) decidedBy(phase, end spacelift.Transition) Diagnosis {
	d.Cause, d.Source, d.Actor = policy.CausePolicy, sourceHistory, end.Username
	_, d.ByUs = spacelift.MarkOf(end)
	what := fmt.Sprintf("%s (%d), then FAILED (%d)", phase.State, phase.StateVersion, end.StateVersion)
	if end.Username != "" {
		what += " by " + end.Username
	}
	if said := lines(spacelift.Unsigned(end.Note)); len(said) > 0 {
		what += ": " + said[0]
	}
	d.Evidence = quote(what, nil)
	return d
}

const (
	maxEvidence = 300  // bytes
	maxLine     = 4096 // bytes of a line that are searched
	lastLines   = 20   // of a log without an error that is marked as one
)

var (
	// errorLine matches the first line that Terraform, OpenTofu, Pulumi, Ansible and
	// most tools write about their failure.
	errorLine = regexp.MustCompile(`(?i)^\W*(error\b|fatal\b|failed\b|panic:)`)

	// escapes matches what colours terminals (ECMA-48 control sequences).
	escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[ -/]*[@-~]`)
)

// failing returns the lines of a log that describe the failure: from the first
// error line on, or else the last ones. Earlier lines may name troubles that
// passed, or quote a plan.
func failing(log string) []string {
	all := lines(log)
	for i, line := range all {
		if errorLine.MatchString(line) {
			return all[i:]
		}
	}
	return all[max(0, len(all)-lastLines):]
}

// lines splits text into its readable lines: no colours, no frames, no control
// characters, no empty lines.
func lines(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		line = escapes.ReplaceAllString(line[:min(len(line), maxLine)], "")
		line = strings.Map(func(r rune) rune {
			switch {
			case unicode.IsSpace(r):
				return ' '
			case r == utf8.RuneError || !unicode.IsPrint(r):
				return -1
			}
			return r
		}, line)
		if line = strings.Trim(line, " │╷╵|"); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// quote returns a line as evidence: without what looks like a secret, and cut to
// the part that was recognized if it is long.
func quote(line string, shows *regexp.Regexp) string {
	line = mask(line)
	if len(line) <= maxEvidence {
		return line
	}
	from := 0
	if shows != nil {
		if at := shows.FindStringIndex(line); at != nil {
			from = min(max(0, at[0]-maxEvidence/3), len(line)-maxEvidence)
		}
	}
	const gap = "…"
	text := line[from:]
	if from > 0 {
		text = gap + text[len(gap):]
	}
	if len(text) > maxEvidence {
		text = text[:maxEvidence-len(gap)] + gap
	}
	return strings.ToValidUTF8(text, "")
}

// secrets matches text that must not be quoted. More people read evidence than
// logs.
var secrets = []struct {
	match *regexp.Regexp
	shown string
}{
	{regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----.*`), "***"},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`), "$1 ***"},
	{regexp.MustCompile(`://[^/\s@]+@`), "://***@"},
	// The value after such a name, even within a longer one. Texts mention a token
	// or credential more often than they show it: "InvalidToken: it has expired".
	{regexp.MustCompile(`(?i)((?:passw(?:or)?d|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key)[\w.-]*"?\s*(?:[:=]|\bis\b)\s*"?)[^\s"',;&]{4,}`), "$1***"},
	{regexp.MustCompile(`(?i)((?:token|credential|signature|authorization|cookie)[\w.-]*"?\s*=\s*"?)[^\s"',;&]{4,}`), "$1***"},
	{regexp.MustCompile(`(?i)((?:token|credential|signature|authorization|cookie)[\w.-]*"?\s*:\s*"?)[^\s"',;&]*\d[^\s"',;&]*`), "$1***"},
	{regexp.MustCompile(`(?i)(--[\w-]*(?:passw|secret|token|key|credential)[\w-]*[ =])\S{4,}`), "$1***"},
	// What is known by how it begins.
	{regexp.MustCompile(`\b(?:AKIA|ASIA|AIza|ghp_|gho_|ghu_|ghs_|ghr_|github_pat_|glpat-|xox[abeoprs]-|sk-|sk_live_|rk_live_|whsec_|hvs\.|dop_v1_|npm_|pypi-)[A-Za-z0-9_-]{8,}`), "***"},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}`), "***"}, // a JSON web token
	{regexp.MustCompile(`\b[0-9a-fA-F]{32,}\b`), "***"},
}

// candidates are long enough to be a secret of any other kind.
var candidates = regexp.MustCompile(`[A-Za-z0-9+/_=-]{20,}`)

func mask(line string) string {
	for _, s := range secrets {
		line = s.match.ReplaceAllString(line, s.shown)
	}
	return candidates.ReplaceAllStringFunc(line, func(text string) string {
		if random(text) {
			return "***"
		}
		return text
	})
}

// random reports whether a text looks random: upper case, lower case and digits
// alternate all the time, unlike in names and paths. Ids such as Spacelift's, and
// UUIDs, have one case only.
func random(text string) bool {
	var upper, lower bool
	changes, before := 0, byte(0)
	for i := range len(text) {
		kind := byte('-')
		switch c := text[i]; {
		case 'A' <= c && c <= 'Z':
			kind, upper = 'A', true
		case 'a' <= c && c <= 'z':
			kind, lower = 'a', true
		case '0' <= c && c <= '9':
			kind = '0'
		}
		if before != 0 && kind != before {
			changes++
		}
		before = kind
	}
	return upper && lower && 3*changes >= len(text)
}
