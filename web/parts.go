package web

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/gantryhq/gantry/gen/api"
)

func problemTitle(r *Refusal) string {
	if p, ok := problems[r.Status]; ok {
		return p.title
	}
	return r.Title
}

func statusOf(r *Refusal) string { return strconv.Itoa(r.Status) }

// mistake returns a mistake in a request as a sentence.
func mistake(e api.ProblemError) string {
	switch {
	case e.Parameter != nil:
		return *e.Parameter + " " + e.Detail
	case e.Pointer != nil:
		return *e.Pointer + ": " + e.Detail
	}
	return e.Detail
}

// span returns a length of time as people say it, in at most two units.
func span(d time.Duration) string {
	d = d.Abs()
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		n := d / u.of
		if n == 0 {
			continue
		}
		text := fmt.Sprintf("%d %s", n, u.name)
		if i+1 < len(units)-1 && n < 10 { // seconds beside minutes only flicker
			if rest := d % u.of / units[i+1].of; rest > 0 {
				text += fmt.Sprintf(" %d %s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0 s"
}

// exact returns a time for people, in the viewer's time zone, which it names.
func exact(ctx context.Context, t time.Time) string {
	return t.In(viewOf(ctx).zone).Format("Mon 2 Jan 2006, 15:04:05 MST")
}

// clock returns the time of day in the viewer's time zone, with the date unless it is today.
func clock(ctx context.Context, t time.Time) string {
	v := viewOf(ctx)
	t = t.In(v.zone)
	switch now := v.now.In(v.zone); {
	case t.Format(time.DateOnly) == now.Format(time.DateOnly):
		return t.Format("15:04")
	case t.Year() == now.Year():
		return t.Format("2 Jan, 15:04")
	}
	return t.Format("2 Jan 2006, 15:04")
}

func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// short returns the first characters of an id or hash, as people say it.
func short(id string) string {
	if len(id) > 7 {
		return id[:7]
	}
	return id
}

// firstLine returns the first line of a text, cut to a length of characters.
func firstLine(text string, most int) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if r := []rune(line); len(r) > most {
		return strings.TrimSpace(string(r[:most])) + "…"
	}
	return line
}

// plural returns a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// initial returns text with a capital at its beginning, for a sentence. An id that begins
// it, such as network-prod, stays as it is.
func initial(text string) string {
	word, _, _ := strings.Cut(text, " ")
	if text == "" || text[0] < 'a' || text[0] > 'z' || strings.ContainsAny(strings.TrimRight(word, ",:;"), "-_./:0123456789") {
		return text
	}
	return string(text[0]-'a'+'A') + text[1:]
}

// sentence returns text as a sentence: with a capital, and a full stop.
func sentence(text string) string {
	text = initial(strings.TrimSpace(text))
	if text == "" || strings.ContainsAny(text[len(text)-1:], ".!?") {
		return text
	}
	return text + "."
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// liveTrigger returns when a live part is renewed. Events that come together renew it once.
func liveTrigger(events []string) string {
	all := make([]string, 0, len(events)+1)
	for _, e := range events {
		all = append(all, "sse:"+e+" delay:300ms")
	}
	return strings.Join(append(all, "every 30s"), ", ")
}

// changeSign returns the sign and the style of a change to a resource.
func changeSign(change string) (sign, class string) {
	switch change {
	case "delete", "forget":
		return "−", "del"
	case "replace":
		return "±", "del"
	case "add", "import":
		return "+", "add"
	}
	return "~", "chg"
}

// destroys reports whether a change takes something away.
func destroys(change string) bool { return change == "delete" || change == "replace" }

// windowTitle returns the title of the window.
func windowTitle(title string, count int) string {
	if count > 0 {
		title = "(" + strconv.Itoa(count) + ") " + title
	}
	return title + " · Gantry"
}

// calendarOf returns the address of a stack's calendar.
func calendarOf(ctx context.Context, account, stack string) templ.SafeURL {
	return linkTo(ctx, "calendar") + templ.SafeURL("?"+url.Values{"account": {account}, "stack": {stack}}.Encode())
}

func waitVerb(n int) string {
	if n == 1 {
		return "waits"
	}
	return "wait"
}

// groupsWords returns the groups of a person for a sentence.
func groupsWords(groups []string) string {
	if len(groups) == 0 {
		return "a group that you belong to"
	}
	return "for " + listed(groups)
}

// listedStacks returns the names of the stacks of runs, the first few.
func listedStacks(runs []api.RunSummary) string {
	names := make([]string, 0, len(runs))
	for _, r := range runs {
		names = append(names, nameOf(r))
	}
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + " and " + strconv.Itoa(len(names)-5) + " more"
	}
	return strings.Join(names, ", ")
}

// phaseSentences says where a run is that waits for nothing.
var phaseSentences = map[api.Phase]string{
	api.PhaseQueued: "It is queued in Spacelift.", api.PhasePlanning: "Spacelift plans it.", api.PhaseConfirming: "Gantry confirms it.",
	api.PhaseApplying: "Spacelift applies it.", api.PhaseDone: "It has ended.", api.PhaseFollowing: "Gantry follows it.",
}

func phaseSentence(p api.Phase) string {
	if s, ok := phaseSentences[p]; ok {
		return s
	}
	return "It is " + string(p) + "."
}
