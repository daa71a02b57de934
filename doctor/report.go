package doctor

import (
	"context"
	"fmt"
	"slices"
)

// Verdict is the result of a check. The words are a contract with scripts.
type Verdict string

// The verdicts, the best first.
const (
	OK      Verdict = "ok"
	Unknown Verdict = "unknown" // it could not be checked
	Warn    Verdict = "warn"    // it works, but needs attention
	Fail    Verdict = "fail"    // it doesn't work
)

// Finding is the result of a check. Without a verdict the check was left out: it
// doesn't apply, or an earlier check that it depends on has failed.
type Finding struct {
	Check   string   `json:"check"`
	Account string   `json:"account,omitempty"`
	Verdict Verdict  `json:"verdict"`
	Text    string   `json:"text"`
	Details []string `json:"details,omitempty"`
	Fix     string   `json:"fix,omitempty"`
}

func ok(format string, args ...any) Finding {
	return Finding{Verdict: OK, Text: fmt.Sprintf(format, args...)}
}

func unknown(fix, format string, args ...any) Finding {
	return Finding{Verdict: Unknown, Text: "could not be checked: " + fmt.Sprintf(format, args...), Fix: fix}
}

func warn(fix, format string, args ...any) Finding {
	return Finding{Verdict: Warn, Text: fmt.Sprintf(format, args...), Fix: fix}
}

func fail(fix, format string, args ...any) Finding {
	return Finding{Verdict: Fail, Text: fmt.Sprintf(format, args...), Fix: fix}
}

var leftOut Finding

// Report lists the findings. It holds no secrets.
type Report struct {
	Verdict  Verdict   `json:"verdict"` // the worst of all
	Findings []Finding `json:"findings"`
	LeftOut  []string  `json:"leftOut,omitempty"` // checks that don't apply, or depend on one that failed
}

// add runs a check and adds its finding.
func (r *Report) add(ctx context.Context, id, account string, run func(context.Context) Finding) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	f := run(ctx)
	f.Check, f.Account = id, account
	if f.Verdict == "" {
		name := f.Check
		if f.Account != "" {
			name += " of " + f.Account
		}
		r.LeftOut = append(r.LeftOut, name)
		return
	}
	r.Findings = append(r.Findings, f)
	worst := []Verdict{OK, Unknown, Warn, Fail}
	if slices.Index(worst, f.Verdict) > slices.Index(worst, r.Verdict) {
		r.Verdict = f.Verdict
	}
}

// Count returns the number of findings with a verdict.
func (r *Report) Count(v Verdict) (n int) {
	for _, f := range r.Findings {
		if f.Verdict == v {
			n++
		}
	}
	return n
}
