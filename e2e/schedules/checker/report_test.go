package checker

import (
	"strings"
	"testing"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

func TestReportCountsByMishap(t *testing.T) {
	s := newStory()
	s.stack("s1-a", "gantry:confirm=auto")
	s.add(0, rec{Mishap: &history.Mishap{Kind: "api", On: true, Detail: "slow mutation"}})
	r := s.push("s1-a", "c1")
	s.confirm(r)
	s.add(0, rec{Mishap: &history.Mishap{Kind: "api", On: false, Detail: "slow mutation"}})
	s.now += aftermath
	s.finish(r)
	report := Judge(s.end())
	for _, v := range report.Violations {
		t.Error(v)
	}
	if n := report.Matrix["api-slow"]["policy"].Judged; n != 1 {
		t.Errorf("one confirmation was judged while the API was slow, not %d", n)
	}
	if n := report.Matrix[Calm]["messages"].Judged; n != 1 {
		t.Errorf("one message was judged while nothing went wrong, not %d", n)
	}

	total := Totals{Seeds: "1 to 2", Schedules: 1200, Matrix: Matrix{}}
	total.Matrix.Add(report.Matrix)
	total.Matrix.Add(Matrix{"api-slow": {"windows": {Judged: 999, Broken: 1}}})
	text := total.Markdown()
	for _, want := range []string{"1,200 schedules (seeds 1 to 2), 0 violations", "| api-slow | ", "(**1**)"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
}
