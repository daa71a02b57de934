package decide

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/gantryhq/gantry/untrusted"
)

// SameName reports whether two names of people are one. Unicode has several ways to write
// a letter, and systems differ in which they choose; case, invisible characters and
// space around a name don't count either. Similar letters of different
// scripts are different letters.
func SameName(a, b string) bool {
	if isASCII(a) && isASCII(b) {
		return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
	}
	return NameKey(a) == NameKey(b)
}

// NameKey returns the form of a name in which it is compared and used as a key: Unicode's
// NFKD (https://unicode.org/reports/tr15/), in one case and without what isn't visible.
func NameKey(name string) string {
	shown := strings.Map(func(r rune) rune {
		if untrusted.Invisible(r) {
			return -1
		}
		return r
	}, norm.NFKD.String(name))
	return strings.TrimSpace(norm.NFKD.String(strings.Map(anyCase, shown)))
}

// anyCase returns the first of the letters that differ from a letter in case alone.
func anyCase(r rune) rune {
	first := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		first = min(first, other)
	}
	return first
}

// SameText reports whether two texts are the same letters, however Unicode composes them.
// Names that aren't people's, such as groups and labels, are compared by it.
func SameText(a, b string) bool {
	return a == b || Composed(a) == Composed(b)
}

// Composed returns a text in Unicode's NFC, in which equal texts are equal bytes.
func Composed(s string) string { return norm.NFC.String(s) }

// maxNameGiven bounds the bytes of a name that Gantry takes as somebody's.
const maxNameGiven = 200

// CheckName explains why Gantry doesn't take a person's name, from the configuration or
// from an issuer: a reader can't see what it is, or the system that it comes from may have
// another person of the name that Gantry reads.
func CheckName(name string) error {
	if err := CheckGroup(name); err != nil {
		return err
	}
	for _, r := range name {
		if plain := norm.NFKC.String(string(r)); plain != norm.NFC.String(string(r)) {
			return fmt.Errorf("it contains %c (%U), which stands for %s; write that", r, r, plain)
		}
	}
	return nil
}

// CheckGroup explains why Gantry doesn't take the name of a group.
func CheckGroup(name string) error {
	switch i := strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || untrusted.Invisible(r) }); {
	case name == "":
		return errors.New("it is empty")
	case !utf8.ValidString(name):
		return errors.New("it isn't valid UTF-8")
	case len(name) > maxNameGiven:
		return fmt.Errorf("it has %d bytes, more than %d", len(name), maxNameGiven)
	case i >= 0:
		r, _ := utf8.DecodeRuneInString(name[i:])
		return fmt.Errorf("it contains %U, which nobody can see; write it without", r)
	case strings.TrimSpace(name) != name:
		return errors.New("it begins or ends with a space; remove it")
	}
	return nil
}

func isASCII(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return b < ' ' || b > '~' })
}
