package checker

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// quote writes a record on one line.
func quote(r history.Record) string {
	text, err := json.Marshal(r)
	if err != nil {
		text = []byte(err.Error())
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(text, &fields)
	for _, head := range []string{"n", "began", "ended", "at", "schedule"} {
		delete(fields, head)
	}
	rest, _ := json.Marshal(fields)
	const longest = 700
	if len(rest) > longest {
		rest = append(rest[:longest], "…"...)
	}
	return fmt.Sprintf("#%d %s…%s %s", r.N, r.Began.Round(time.Millisecond), r.Ended.Round(time.Millisecond), rest)
}
