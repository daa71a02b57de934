package decide

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestFitKeepsShortTextsAndCutsAtRunes(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"exactly ten", "exactly…"},
		{"ten bytes!", "ten bytes!"},
		{"éééééé", "ééé…"},
		{"<<<", "<…"},
		{"a\xff", "a\uFFFD"},
	} {
		if got := Fit(tc.in, 10); got != tc.want {
			t.Errorf("fit(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		limit := rapid.IntRange(4, 50).Draw(t, "limit")
		b, err := json.Marshal(Fit(s, limit))
		if err != nil || len(b)-2 > limit {
			t.Fatalf("fit(%q, %d) needs %d bytes (%v)", s, limit, len(b)-2, err)
		}
	})
}
