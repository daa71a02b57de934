package untrusted_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gantryhq/gantry/untrusted"
)

func TestText(t *testing.T) {
	for name, tc := range map[string]struct{ text, lines, line string }{
		"plain":          {"plan: +2 ~1 -1", "plan: +2 ~1 -1", "plan: +2 ~1 -1"},
		"line ends":      {"a\r\nb\rc\u2028d\u2029e\tf", "a\nb\nc\nd\ne f", "a b c d e f"},
		"escape":         {"\x1b[31mred\x9b0m", "\uFFFD[31mred\uFFFD0m", "\uFFFD[31mred\uFFFD0m"},
		"right to left":  {"approved \u202egnihton\u202c", "approved \uFFFDgnihton\uFFFD", "approved \uFFFDgnihton\uFFFD"},
		"invalid":        {"a\xffb", "a\uFFFDb", "a\uFFFDb"},
		"only space":     {" \n\t ", "", ""},
		"around":         {"  a  \n\n b ", "a  \n\n b", "a b"},
		"other scripts":  {"ähre 雪 👩‍🚀", "ähre 雪 👩‍🚀", "ähre 雪 👩‍🚀"},
		"C1 and DEL":     {"a\u009b2mb\x7f", "a\uFFFD2mb\uFFFD", "a\uFFFD2mb\uFFFD"},
		"isolates":       {"\u2066a\u2069\u061c", "\uFFFDa\uFFFD\uFFFD", "\uFFFDa\uFFFD\uFFFD"},
		"vertical space": {"a\vb\fc\u0085d", "a\uFFFDb\uFFFDc\uFFFDd", "a\uFFFDb\uFFFDc\uFFFDd"},
	} {
		if got := untrusted.Lines(tc.text); got != tc.lines {
			t.Errorf("%s: lines %q, want %q", name, got, tc.lines)
		}
		if got := untrusted.Line(tc.text); got != tc.line {
			t.Errorf("%s: line %q, want %q", name, got, tc.line)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tc := range []struct {
		text  string
		limit int
		want  string
	}{{"abcde", 5, "abcde"}, {"abcdef", 5, "ab…"}, {"äöü", 6, "äöü"}, {"äöüa", 6, "ä…"}, {"abcd", 3, "…"}, {"", 3, ""}} {
		if got := untrusted.Cut(tc.text, tc.limit, utf8.RuneLen); got != tc.want {
			t.Errorf("%q cut to %d is %q, want %q", tc.text, tc.limit, got, tc.want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	for text, want := range map[string]string{
		"network / prod":                 "network / prod",
		"[your bank](https://evil.test)": `\[your bank\](https\://evil.test)`,
		"<img src=x onerror=alert(1)>":   `\<img src=x onerror=alert(1)\>`,
		"a\n# heading":                   `a # heading`,
		"![x](y)":                        `\!\[x\](y)`,
		"www.evil.test a@evil.test":      `www\.evil.test a@evil.test`,
		"`code` *bold* ~~gone~~ | cell":  "\\`code\\` \\*bold\\* \\~\\~gone\\~\\~ \\| cell",
		"# heading":                      `\# heading`,
		"- item":                         `\- item`,
		"12. item":                       `12\. item`,
		"1) item":                        `1\) item`,
		"===":                            `\===`,
		"+0 ~0 -9, WWW.evil.test":        `\+0 \~0 -9, WWW\.evil.test`,
		"&lt;b&gt; \\<b>":                `\&lt;b\&gt; \\\<b\>`,
	} {
		if got := untrusted.Markdown(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// FuzzText checks that no text has a character that readers obey, or looks like several
// lines.
func FuzzText(f *testing.F) {
	for _, text := range []string{"", "plain", "a\r\nb", "\u202e\xff\x1b[2J", "🚀\u2028<@U1>"} {
		f.Add(text, uint16(9))
	}
	f.Fuzz(func(t *testing.T, text string, limit uint16) {
		for r := range strings.SplitSeq(untrusted.Lines(text), "\n") {
			if strings.ContainsFunc(r, untrusted.Obeyed) || !utf8.ValidString(r) {
				t.Errorf("%q", r)
			}
		}
		line := untrusted.Line(text)
		if strings.ContainsFunc(line, untrusted.Obeyed) {
			t.Errorf("%q is no line", line)
		}
		limit = max(limit, 3)
		if got := untrusted.Cut(line, int(limit), utf8.RuneLen); len(got) > int(limit) || !utf8.ValidString(got) {
			t.Errorf("%q cut to %d is %q", line, limit, got)
		}
	})
}
