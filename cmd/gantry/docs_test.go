package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The commands that the guides show exist, with the flags they show, and the
// guide to setting up names every flag of it.
func TestGuidesShowCommandsThatExist(t *testing.T) {
	var shown int
	for _, file := range []string{"../../docs/how-to/set-up-spacelift.md", "../../docs/reference/doctor.md", "../../docs/reference/cli.md", "../../docs/how-to/windows-and-freezes.md", "../../docs/how-to/chains.md"} {
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile(`(?m)^\s*gantry (\S.*)$`).FindAllStringSubmatch(string(doc), -1) {
			shown++
			args := strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(line[1]))
			command, rest, err := newRootCommand().Find(args)
			if err != nil {
				t.Errorf("%s: %s: %v", file, line[0], err)
				continue
			}
			if err := command.ParseFlags(rest); err != nil {
				t.Errorf("%s: %s: %v", file, line[0], err)
			}
		}
	}
	if shown < 6 {
		t.Errorf("only %d commands found", shown)
	}

	guide, err := os.ReadFile("../../docs/how-to/set-up-spacelift.md")
	if err != nil {
		t.Fatal(err)
	}
	newSetupCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "output" && f.Name != "jq" && !strings.Contains(string(guide), "--"+f.Name) {
			t.Errorf("the guide doesn't name --%s", f.Name)
		}
	})
}

// The reference names every command and every exit code, and no flag that doesn't exist.
func TestTheReferenceIsComplete(t *testing.T) {
	reference, err := os.ReadFile("../../docs/reference/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	root := newRootCommand()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Name() != "help" {
				walk(sub)
			}
		}
		if !c.HasSubCommands() && c.Parent().Name() != "completion" && !strings.Contains(string(reference), "`"+c.CommandPath()) {
			t.Errorf("it does not name %s", c.CommandPath())
		}
	}
	walk(root)
	rows := regexp.MustCompile("(?m)^\\| (`gantry .*?) \\|.*$").FindAllStringSubmatch(string(reference), -1)
	for _, row := range rows {
		for _, named := range regexp.MustCompile("`gantry ([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			c, _, err := root.Find(strings.Fields(named[1]))
			if err != nil {
				t.Errorf("gantry %s: %v", named[1], err)
				continue
			}
			for _, flag := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(row[0], -1) {
				if c.Flag(flag[1]) == nil {
					t.Errorf("%s has no flag --%s", c.CommandPath(), flag[1])
				}
			}
		}
	}
	if len(rows) < 40 {
		t.Errorf("%d commands found", len(rows))
	}
	codes := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(string(reference), -1) {
		codes[m[1]] = true
	}
	want := []int{0, 1, exitDrift, exitRefused, exitNotInTime, exitUnchecked, exitEnded, exitInterrupted}
	for _, code := range exitOfState {
		want = append(want, code)
	}
	for _, code := range want {
		if !codes[strconv.Itoa(code)] {
			t.Errorf("it does not list the exit code %d", code)
		}
	}
}
