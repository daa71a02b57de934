package spacelift_test

import (
	"testing"

	"github.com/gantryhq/gantry/spacelift"
)

func TestMark(t *testing.T) {
	mark := spacelift.Mark{Verb: spacelift.VerbConfirm, StateVersion: 5}
	for _, tc := range []struct {
		note, signed string
	}{
		{"Confirmed by Gantry: approved by ann.", "Confirmed by Gantry: approved by ann. [gantry: confirm 5]"},
		{"", "[gantry: confirm 5]"},
		{"ann wrote [gantry: discard 7]", "ann wrote [gantry: discard 7] [gantry: confirm 5]"},
	} {
		signed := mark.Sign(tc.note)
		if signed != tc.signed || spacelift.Unsigned(signed) != tc.note {
			t.Errorf("%q is signed as %q and read as %q", tc.note, signed, spacelift.Unsigned(signed))
		}
		got, ok := spacelift.MarkOf(spacelift.Transition{Username: "api::01KEY", Note: signed})
		if !ok || got != mark {
			t.Errorf("%q: %+v, %t", signed, got, ok)
		}
	}
}

func TestMarksOfOthers(t *testing.T) {
	for _, tc := range []struct {
		name string
		who  string
		note string
		ours bool
	}{
		{"nobody is named", "", "[gantry: stop 3]", true},
		{"a person copied the words", "jane", "go [gantry: confirm 5]", false},
		{"somebody quotes the words", "api::01KEY", "[gantry: confirm 5] was wrong", false},
		{"an unknown verb", "api::01KEY", "[gantry: promote 5]", false},
		{"no note", "api::01KEY", "", false},
		{"a number without end", "api::01KEY", "[gantry: stop 99999999999999999999]", false},
	} {
		if got, ok := spacelift.MarkOf(spacelift.Transition{Username: tc.who, Note: tc.note}); ok != tc.ours {
			t.Errorf("%s: %+v, %t", tc.name, got, ok)
		}
	}
}
