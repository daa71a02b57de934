package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"
)

var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// screen is a terminal of a width.
type screen struct {
	bytes.Buffer
	columns int
}

func (s *screen) Columns() int { return s.columns }

// printed returns what a command prints on a terminal of a width, with 0 into a pipe.
func printed(t *testing.T, width int, args []string, print func(*Printer) error) (string, error) {
	t.Helper()
	terminal := &screen{columns: width}
	root := &cobra.Command{Use: "gantry", SilenceUsage: true, SilenceErrors: true}
	AddColourFlag(root)
	list := &cobra.Command{Use: "list"}
	flags := AddFlags(list, list.Flags())
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := flags.Printer(cmd, noon)
		if err != nil {
			return err
		}
		return print(p)
	}
	root.AddCommand(list)
	if width == 0 {
		root.SetOut(Printable{&terminal.Buffer})
	} else {
		root.SetOut(Printable{terminal})
	}
	root.SetArgs(append([]string{"list"}, args...))
	err := root.Execute()
	return terminal.String(), err
}

func TestTimes(t *testing.T) {
	p := &Printer{Now: noon}
	for ago, want := range map[time.Duration]string{
		0: "now", 12 * time.Second: "12s ago", 119 * time.Second: "119s ago", 2 * time.Minute: "2m ago", 119 * time.Minute: "119m ago", 2 * time.Hour: "2h ago",
		47 * time.Hour: "47h ago", 48 * time.Hour: "2d ago", 99 * 24 * time.Hour: "99d ago", 101 * 24 * time.Hour: "2025-09-26", -90 * time.Minute: "in 90m", -3 * time.Hour: "in 3h",
	} {
		if got := p.When(new(noon.Add(-ago))); got != want {
			t.Errorf("%s ago is printed as %q, want %q", ago, got, want)
		}
	}
	at := time.Date(2026, 1, 5, 7, 0, 0, 123456789, time.FixedZone("CET", 3600))
	p.UTC = true
	if got, want := p.When(&at), "2026-01-05T06:00:00Z"; got != want || Stamp(&at) != want {
		t.Errorf("with --utc it is %s, want %s", got, want)
	}
	for _, none := range []*time.Time{nil, {}} {
		for _, utc := range []bool{true, false} {
			p.UTC = utc
			if got := p.When(none); got != "" {
				t.Errorf("no time is printed as %s", got)
			}
		}
	}
}

// A table gives up columns before it breaks sentences into slivers, and breaks lines
// between words alone.
func TestTablesFit(t *testing.T) {
	rows := func(p *Printer) error {
		t := p.List("runs", []Column{{Title: "STACK"}, {Title: "WHY", Wraps: true}, {Title: "ENDED"}, {Title: "TYPE", Drop: 2}, {Title: "NOTE", Wide: true}, {Title: "RUN", Drop: 1}})
		t.Row("acme/network-prod", "the plan deletes 9 resources and waits for two people of the group platform", "", "TRACKED", "wide", "01KDX3V4T8Q2M5N7P9R1S3T5V7")
		t.Row("acme/app", "", "", "PROPOSED", "", "01KDX3V4T8Q2M5N7P9R1S3T5V8")
		return t.Flush()
	}
	for _, tt := range []struct {
		width int
		args  string
		want  string
	}{
		{0, "", `
STACK              WHY                                                                          TYPE      RUN
acme/network-prod  the plan deletes 9 resources and waits for two people of the group platform  TRACKED   01KDX3V4T8Q2M5N7P9R1S3T5V7
acme/app                                                                                        PROPOSED  01KDX3V4T8Q2M5N7P9R1S3T5V8
`},
		{100, "", `
STACK              WHY                                          TYPE      RUN
acme/network-prod  the plan deletes 9 resources and waits for   TRACKED   01KDX3V4T8Q2M5N7P9R1S3T5V7
                   two people of the group platform
acme/app                                                        PROPOSED  01KDX3V4T8Q2M5N7P9R1S3T5V8
`},
		{80, "", `
STACK              WHY                                RUN
acme/network-prod  the plan deletes 9 resources and   01KDX3V4T8Q2M5N7P9R1S3T5V7
                   waits for two people of the group
                   platform
acme/app                                              01KDX3V4T8Q2M5N7P9R1S3T5V8
`},
		{40, "", `
STACK              WHY
acme/network-prod  the plan deletes 9
                   resources and waits
                   for two people of the
                   group platform
acme/app
`},
		{20, "", `
STACK:  acme/network-prod
WHY:    the plan
        deletes 9
        resources
        and waits
        for two
        people of
        the group
        platform
TYPE:   TRACKED
RUN:    01KDX3V4T8Q2M5N7P9R1S3T5V7

STACK:  acme/app
TYPE:   PROPOSED
RUN:    01KDX3V4T8Q2M5N7P9R1S3T5V8
`},
		{20, "-o wide --all", `
STACK              WHY                                                                          ENDED  TYPE      NOTE  RUN
acme/network-prod  the plan deletes 9 resources and waits for two people of the group platform         TRACKED   wide  01KDX3V4T8Q2M5N7P9R1S3T5V7
acme/app                                                                                               PROPOSED        01KDX3V4T8Q2M5N7P9R1S3T5V8
`},
	} {
		got, err := printed(t, tt.width, append(strings.Fields(tt.args), "--color=never"), rows)
		if diff := cmp.Diff(tt.want, "\n"+got); diff != "" || err != nil {
			t.Errorf("%d columns %s (-want +got):\n%s%v", tt.width, tt.args, diff, err)
		}
	}
}

// Wide characters and those that combine take the columns that a terminal gives them.
func TestWidthIsTheTerminals(t *testing.T) {
	got, err := printed(t, 0, nil, func(p *Printer) error {
		t := p.Facts()
		t.Fact("日本", "a")
		t.Fact("e\u0301te\u0301", "b")
		return t.Flush()
	})
	if want := "日本:  a\ne\u0301te\u0301:   b\n"; got != want || err != nil {
		t.Errorf("printed %q, want %q; %v", got, want, err)
	}
}

func TestColours(t *testing.T) {
	rows := func(p *Printer) error {
		t := p.Table([]Column{{Title: "STATE", Tone: func(string) Tone { return Bad }}, {Title: "WHY"}})
		t.Row("FAILED", "\x1b[32mfine")
		return t.Flush()
	}
	coloured, plain := "\x1b[1mSTATE\x1b[0m   \x1b[1mWHY\x1b[0m\n\x1b[31mFAILED\x1b[0m  \ufffd[32mfine\n", "STATE   WHY\nFAILED  \ufffd[32mfine\n"
	for _, tt := range []struct {
		width         int
		noColor, args string
		want          string
	}{
		{80, "", "", coloured}, {80, "1", "", plain}, {0, "", "", plain},
		{80, "1", "--color always", coloured}, {0, "", "--color=always", coloured}, {80, "", "--color never", plain},
	} {
		t.Setenv("NO_COLOR", tt.noColor)
		t.Setenv("TERM", "xterm")
		if got, err := printed(t, tt.width, strings.Fields(tt.args), rows); got != tt.want || err != nil {
			t.Errorf("%d columns, NO_COLOR=%s %s: printed %q; %v", tt.width, tt.noColor, tt.args, got, err)
		}
	}
}

// hostile sets the title of a terminal, clears its screen and reverses the reading
// order.
const hostile = "a\x1b]0;title\x07b\x1b[2Jc\u009b32me\u202ef\x7fg\rh\ni"

// A program reads from JSON and YAML each character unaltered, and no terminal obeys one.
func TestStructuredOutputIsUnaltered(t *testing.T) {
	value := struct {
		Zeta  string   `json:"zeta"`
		Alpha []string `json:"alpha"`
	}{hostile, []string{"yes", "1.0", ""}}
	for args, decode := range map[string]func([]byte, any) error{"-o json": json.Unmarshal, "-o yaml": yaml.Unmarshal, "--jq .": json.Unmarshal} {
		got, err := printed(t, 80, strings.Fields(args), func(p *Printer) error { return p.Encode(value) })
		if err != nil || strings.ContainsFunc(got, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) }) {
			t.Errorf("%s prints %q; %v", args, got, err)
		}
		again := map[string]any{}
		if err := decode([]byte(got), &again); err != nil {
			t.Errorf("%s prints %q: %v", args, got, err)
		}
		if diff := cmp.Diff(map[string]any{"zeta": hostile, "alpha": []any{"yes", "1.0", ""}}, again); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
		if args != "--jq ." && strings.Index(got, "zeta") > strings.Index(got, "alpha") {
			t.Errorf("%s prints in another order:\n%s", args, got)
		}
	}
}

func TestQueries(t *testing.T) {
	value := map[string]any{"runs": []map[string]any{{"run": "01A", "n": 1}, {"run": "01B\x1b[2J", "n": 2}}}
	for query, want := range map[string]string{
		".runs[].run": "01A\n01B\ufffd[2J\n", ".runs | map(.n)": "[1,2]\n", ".none": "null\n", "env.HOME": "null\n",
	} {
		if got, err := printed(t, 0, []string{"--jq", query}, func(p *Printer) error { return p.Encode(value) }); got != want || err != nil {
			t.Errorf("%s prints %q, want %q; %v", query, got, want, err)
		}
	}
	for query, says := range map[string]string{".runs[": "is no jq expression", ".runs | .[\"a\"]": "--jq: "} {
		if _, err := printed(t, 0, []string{"--jq", query}, func(p *Printer) error { return p.Encode(value) }); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", query, err)
		}
	}
	if _, err := printed(t, 0, []string{"--jq", ".", "-o", "yaml"}, func(*Printer) error { return nil }); err == nil || !strings.Contains(err.Error(), "leave -o out") {
		t.Errorf("yaml: %v", err)
	}
}

// A screen shows what fits, in place of what was there before.
func TestScreen(t *testing.T) {
	tty, program, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(program.Close(), tty.Close()) }()
	if err := pty.Setsize(program, &pty.Winsize{Rows: 4, Cols: 10}); err != nil {
		t.Fatal(err)
	}
	terminal := vt.NewEmulator(10, 4)
	s := NewScreen(Printable{program})
	for printed, want := range map[string]string{
		"one\ntwo\n": "one\ntwo", "one\ntwo\nthree\nfour\n": "one\ntwo\n… 2 lines…", "日本日本日本\n": "日本日本…", "": "",
	} {
		if err := s.Show(printed); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(program, "\x00"); err != nil { // the end
			t.Fatal(err)
		}
		for b := make([]byte, 1); ; {
			if _, err := tty.Read(b); err != nil {
				t.Fatal(err)
			}
			if b[0] == 0 {
				break
			}
			_, _ = terminal.Write(b)
		}
		var shown []string
		for line := range strings.Lines(terminal.String()) {
			shown = append(shown, strings.TrimRight(line, " \n"))
		}
		if got := strings.TrimRight(strings.Join(shown, "\n"), "\n"); got != want {
			t.Errorf("%q is shown as\n%s\nwant\n%s", printed, got, want)
		}
	}
}

func TestChoices(t *testing.T) {
	for given, says := range map[string]string{"jsn": "did you mean json?", "xml-document": "choose one of table, wide, json, yaml, name"} {
		if _, err := printed(t, 0, []string{"-o", given}, func(*Printer) error { return nil }); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", given, err)
		}
	}
	if _, err := printed(t, 0, []string{"-o", "JSON"}, func(p *Printer) error { return p.Encode(1) }); err != nil {
		t.Error(err)
	}
	cmd := &cobra.Command{Use: "list", RunE: func(*cobra.Command, []string) error { return nil }, SilenceErrors: true, SilenceUsage: true}
	state := ""
	Likely(cmd, cmd.Flags(), &state, "state", "", "UNCONFIRMED", "FINISHED")
	for given, want := range map[string]string{"unconfirmed": "UNCONFIRMED", "BRAND_NEW": "BRAND_NEW"} {
		cmd.SetArgs([]string{"--state", given})
		if err := cmd.Execute(); err != nil || state != want {
			t.Errorf("%s is %s; %v", given, state, err)
		}
	}
	cmd.SetArgs([]string{"--state", "UNCOMFIRMED"})
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "did you mean UNCONFIRMED?") {
		t.Error(err)
	}
}

// Lines without anything to replace take the short way.
func TestPrintableReplacesOnlyWhatATerminalObeys(t *testing.T) {
	for text, want := range map[string]string{
		"a plain line\n": "a plain line\n", "tabs\tstay\n": "tabs\tstay\n", "Übung 雪\n": "Übung 雪\n",
		"\x1b[31mred\x7f\n": "\uFFFD[31mred\uFFFD\n", "back\rspace\b": "back\uFFFDspace\uFFFD", "\u009b2J\u202e": "\uFFFD2J\uFFFD",
	} {
		var out bytes.Buffer
		if n, err := (Printable{&out}).Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("Write(%q) returns %d, %v", text, n, err)
		}
		if out.String() != want {
			t.Errorf("%q is printed as %q, want %q", text, out.String(), want)
		}
	}
}
