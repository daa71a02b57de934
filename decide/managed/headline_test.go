package managed

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/untrusted"
)

func deletes(n int) func(*Situation) {
	return func(s *Situation) { s.Delta = &spacelift.Delta{Deleted: n} }
}

func by(author string) func(*Situation) {
	return func(s *Situation) {
		s.Commit = spacelift.Commit{Hash: "9f2c1d7e4b8a06f35c21", AuthorLogin: author, Message: "rename\nthe rest"}
	}
}

func named(name string) func(*Situation) { return func(s *Situation) { s.StackName = name } }

// hostile is a text with everything that a reader of Markdown, HTML or a terminal obeys.
const hostile = "x](https://evil.test) [your bank](https://evil.test) <img src=x onerror=alert(1)> ![](https://evil.test/p)\n# Approved\n\u202e**done** `code` https://evil.test www.evil.test \x1b[2J"

func TestHeadlines(t *testing.T) {
	since := " since " + decide.Moment(t0)
	two := with("gantry:managed", "gantry:profile=two")
	for name, tc := range map[string]struct {
		s    *Situation
		want string
	}{
		"asked": {
			in(spacelift.RunStateUnconfirmed, two, deletes(9), by("alice"), named("network / prod"), needing),
			"network / prod: waits for 2 approvals" + since + ", +0 ~0 -9, alice",
		},
		"one approved": {
			in(spacelift.RunStateUnconfirmed, two, deletes(1), by("alice"), needing, approvedBy("bob")),
			string(testRun.Stack) + ": waits for 1 approval" + since + ", +0 ~0 -1, alice",
		},
		"held": {
			in(spacelift.RunStateUnconfirmed, with("gantry:managed", "gantry:confirm=sometimes"), deletes(1), needing),
			": held: gantry:confirm=sometimes can't be followed",
		},
		"queued": {in(spacelift.RunStateQueued, two), ": the run is in the stack's queue" + since},
		"ended":  {in(spacelift.RunStateFinished, two), ": the run finished"},
	} {
		got := Headline(tc.s.RunStatus, tc.s.Explain())
		if !strings.Contains(got, tc.want) || strings.Contains(got, "\n") {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// Details answer as the explanation does, and link to Gantry's page and Spacelift.
func TestDetails(t *testing.T) {
	s := in(spacelift.RunStateUnconfirmed, with("gantry:managed", "gantry:profile=two"), deletes(9), by("alice"), named("network / prod"), needing)
	s.URL = "https://acme.app.spacelift.io/stack/network/run/01"
	s.Chains = []ChainRef{{Root: spacelift.RunRef{Account: "acme", Stack: "base", Run: "01ROOT"}}}
	e := s.Explain()
	got := Details(s.RunStatus, e, "https://gantry.example.com")
	for _, want := range []string{
		`**network / prod: waits for 2 approvals since`, `+0 \~0 -9, alice**`, untrusted.Markdown(decide.Sentence(e.Summary)),
		"- **" + untrusted.Markdown(e.Unblock[0].Who) + "**: " + untrusted.Markdown(e.Unblock[0].How),
		untrusted.Markdown(e.Next[0].What), `**Commit**: 9f2c1d7e4b rename`,
		"[Open in Gantry](<https://gantry.example.com/accounts/" + string(testRun.Account) + "/stacks/" + string(testRun.Stack) + "/runs/" + string(testRun.Run) + ">)",
		"[Open in Spacelift](<https://acme.app.spacelift.io/stack/network/run/01>)", "[Chain of base](<https://gantry.example.com/accounts/acme/stacks/base/runs/01ROOT/chain>)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %s:\n%s", want, got)
		}
	}
	if bare := Details(s.RunStatus, e, ""); strings.Contains(bare, "Open in Gantry") {
		t.Errorf("Gantry has no address, and it links there:\n%s", bare)
	}
}

// What others wrote makes no link, image, HTML, heading or line of its own, however long
// it is.
func TestHostileTextIsShownAsItIs(t *testing.T) {
	long := strings.Repeat(hostile, 200)
	for _, text := range []string{hostile, long} {
		s := in(spacelift.RunStateUnconfirmed, with("gantry:managed", "gantry:profile=two"), deletes(9), by(text), named(text), needing)
		s.Commit.Message, s.URL = text, "javascript:alert(1)"
		got := Details(s.RunStatus, s.Explain(), "https://gantry.example.com")
		links := regexp.MustCompile(`(^|[^\\])\]\(`).FindAllString(got, -1)
		if len(links) != 1 || len(got) > 20_000 {
			t.Errorf("%d links in %d bytes:\n%.3000s", len(links), len(got), got)
		}
		for _, pattern := range []string{`(?m)^\s*#`, `(^|[^\\(])<[^h]`, `[^\\]!\[`, "[^\\\\]`", `[^\\<]https?:`, "\u202e", "\x1b", `javascript:`} {
			if m := regexp.MustCompile(pattern).FindString(got); m != "" {
				t.Errorf("%q is obeyed (%s):\n%.3000s", m, pattern, got)
			}
		}
		o := Opening(testRun, []RunEvent{{Source: SourceWebhook, State: spacelift.RunStateQueued, At: t0, StackName: text, Commit: spacelift.Commit{Hash: "9f2c", Message: text}}}, "")
		if size := decide.SizeOf(o.Summary); size > 350 || strings.ContainsFunc(o.Summary, untrusted.Obeyed) || regexp.MustCompile(`(^|[^\\])[\[<]`).MatchString(o.Summary) {
			t.Errorf("the summary has %d bytes: %q", size, o.Summary)
		}
	}
}

func TestMomentsAreShort(t *testing.T) {
	if got := decide.Moment(time.Date(2026, 11, 28, 23, 32, 59, 0, time.FixedZone("", 3600))); got != "28 Nov 22:32 UTC" {
		t.Error(got)
	}
}
