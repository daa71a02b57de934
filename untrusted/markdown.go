package untrusted

import "strings"

// special are the characters that begin something in GitHub's Markdown, anywhere in a
// line or at its beginning: https://github.github.com/gfm. A colon, a full stop and an
// at sign make links of addresses.
const special = "\\`*_{}[]()<>#+-!|~&:.@=\"'"

// Markdown returns a text as one line of Markdown that shows it as it was written: it
// makes no links, images, HTML, headings or lists.
func Markdown(s string) string {
	var b strings.Builder
	for _, r := range Line(s) {
		if strings.ContainsRune(special, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
