package decide_test

import (
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide"
)

// One person's name, written in two ways, is one name; names that a reader can distinguish
// are two.
func TestSameName(t *testing.T) {
	for _, tt := range []struct {
		what, a, b string
		same       bool
	}{
		{"one accent, one or two characters", "Jos\u00e9", "Jose\u0301", true},
		{"marks in another order", "q\u0307\u0323", "q\u0323\u0307", true},
		{"Hangul, whole or in parts", "\ud55c", "\u1112\u1161\u11ab", true},
		{"case", "José", "JOSE\u0301", true},
		{"final sigma", "ΟΔΟΣ", "οδος", true},
		{"space around it", " jane", "jane\u00a0", true},
		{"full width", "ｊａｎｅ", "jane", true},
		{"a ligature", "ﬁona", "fiona", true},
		{"a zero-width space", "ja\u200bne", "jane", true},
		{"a direction mark", "\u202ejane", "jane", true},
		{"a variation selector", "jane\ufe0f", "jane", true},
		{"an accent more", "Jose", "José", false},
		{"another script", "jаne", "jane", false}, // the a is Cyrillic
		{"two letters for one", "Strasse", "Straße", false},
		{"another name", "jane", "jan", false},
	} {
		if decide.SameName(tt.a, tt.b) != tt.same || decide.SameName(tt.b, tt.a) != tt.same || (decide.NameKey(tt.a) == decide.NameKey(tt.b)) != tt.same {
			t.Errorf("%s: %+q and %+q", tt.what, tt.a, tt.b)
		}
	}
}

// However a name is composed, and in whichever case, it stays the name.
func TestNamesSurviveTheirForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		for _, form := range []norm.Form{norm.NFC, norm.NFD, norm.NFKC, norm.NFKD} {
			if other := form.String(name); !decide.SameName(name, other) {
				t.Fatalf("%+q and %+q", name, other)
			}
		}
		if key := decide.NameKey(name); decide.NameKey(key) != key {
			t.Fatalf("the key of %+q is no key: %+q, then %+q", name, key, decide.NameKey(key))
		}
	})
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if other := unicode.SimpleFold(r); other != r && !decide.SameName("a"+string(r), "a"+string(other)) {
			t.Errorf("%+q and %+q are two names", r, other)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"jane", "Jane Doe", "jane@acme.example", "José", "Jose\u0301", "李小龍", "Владимир", "api::01J8", "github:repo:acme/net:ref:refs/heads/main", "ann <ann@acme.example>"} {
		if err := decide.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, says := range map[string]string{
		"":                       "it is empty",
		" jane":                  "space",
		"jane ":                  "space",
		"ja\u200bne":             "U+200B",
		"\u202ejane":             "U+202E",
		"jane\ufe0f":             "U+FE0F",
		"ja\u3164ne":             "U+3164",
		"jane\n":                 "U+000A",
		"ja\u00a0ne":             "U+00A0",
		"ja\xffne":               "UTF-8",
		"ｊａｎｅ":                   "(U+FF4A), which stands for j",
		"ﬁona":                   "(U+FB01), which stands for fi",
		strings.Repeat("a", 201): "200",
	} {
		if err := decide.CheckName(name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", name, err, says)
		}
	}
}
