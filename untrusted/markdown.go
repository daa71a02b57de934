package untrusted

import (
	"regexp"
	"strings"
)

// special are the characters that begin something in GitHub's Markdown, wherever they are
// (https://github.github.com/gfm), and of bare addresses of pages those that make links of
// them. A bare mail address leads where it says.
var special = regexp.MustCompile("[\\\\`*_\\[\\]<>|~&!]|:(?://)|(?i:www)\\.")

// begins is the beginning of a heading, a list or a line under a heading.
var begins = regexp.MustCompile(`^([#+=-]|\d{1,9}[.)])`)

// Markdown returns a text as one line of Markdown that shows it as it was written: it
// makes no links, images, HTML, headings or lists.
func Markdown(s string) string {
	s = special.ReplaceAllStringFunc(Line(s), func(found string) string {
		switch {
		case found == "://":
			return `\://`
		case len(found) > 1:
			return found[:len(found)-1] + `\.`
		}
		return `\` + found
	})
	return begins.ReplaceAllStringFunc(s, func(found string) string {
		last := len(found) - 1
		return found[:last] + `\` + strings.TrimPrefix(found[last:], `\`)
	})
}
