package notify_test

import (
	"testing"

	"github.com/gantryhq/gantry/notify"
)

func TestMessageIDs(t *testing.T) {
	// With other ids, receivers would get every message twice after an upgrade.
	if got, want := notify.MessageID("run.ended", "acme", "r1"), "msg_05488b301f901a072497d5ad278003ec"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	seen := map[string][]string{}
	for _, parts := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"abc", ""}, {"", "abc"}, {}, {""}, {"1:a"}, {"a"}} {
		id := notify.MessageID(parts...)
		if other, taken := seen[id]; taken {
			t.Errorf("%q and %q share the id %s", parts, other, id)
		}
		seen[id] = parts
	}
}
