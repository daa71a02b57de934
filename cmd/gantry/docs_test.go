package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// The commands that the guides show exist, with the flags they show, and the
// guide to setting up names every flag of it.
func TestGuidesShowCommandsThatExist(t *testing.T) {
	var shown int
	for _, file := range []string{"../../docs/how-to/set-up-spacelift.md", "../../docs/reference/doctor.md"} {
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
		if f.Name != "config" && f.Name != "output" && !strings.Contains(string(guide), "--"+f.Name) {
			t.Errorf("the guide doesn't name --%s", f.Name)
		}
	})
}
