package main

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// printedBy runs the program where nothing is configured.
func printedBy(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := newRootCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// A misspelt command is an error, with an exit code.
func TestMisspeltCommandsAreErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		says []string
	}{
		{[]string{"rns", "approve", theRunName}, []string{`unknown command "rns" for "gantry"`, "runs"}},
		{[]string{"runs", "aprove", theRunName}, []string{`unknown command "aprove" for "gantry runs"`, "Did you mean this?\n\tapprove\n"}},
		{[]string{"runs", "aprove", theRunName, "--wait"}, []string{`unknown command "aprove" for "gantry runs"`, "approve"}},
		{[]string{"runs", "--url", "https://gantry.example.com", "aprove"}, []string{`unknown command "aprove"`}},
		{[]string{"freezes", "declaer", "--reason", "x"}, []string{`unknown command "declaer"`, "declare"}},
		{[]string{"runs", "--wait"}, []string{"unknown flag: --wait"}},
		{[]string{"runs", "show", theRunName, "--wait"}, []string{"unknown flag: --wait; gantry runs show --help lists the flags"}},
		{[]string{"runs", "list", "--phse", "waiting"}, []string{"unknown flag: --phse; did you mean --phase?"}},
		{[]string{"runs", "list", "--limit", "0"}, []string{"--limit", "give a whole number of 1 or more"}},
		{[]string{"windows", "list", "--days", "x"}, []string{"--days", "give a whole number of 1 or more"}},
		{[]string{"runs", "list", "extra"}, []string{`gantry runs list takes no arguments, but "extra" was given`}},
		{[]string{"token", "create"}, []string{"0 arguments were given; write gantry token create NAME"}},
		{[]string{"chains", "skip", "01K"}, []string{"1 argument was given; write gantry chains skip RUN STACK"}},
		{[]string{"waiting", "--asked", "--everyone"}, []string{"give only one of --asked and --everyone"}},
		{[]string{"help", "rns"}, []string{`unknown command "rns" for "gantry"`, "runs"}},
		{[]string{"help", "runs", "aprove"}, []string{`unknown command "aprove" for "gantry runs"`, "approve"}},
	} {
		_, err := printedBy(t, tt.args...)
		if err != nil {
			err = explainFlags(err)
		}
		for _, text := range tt.says {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%v does not say %q: %v", tt.args, text, err)
			}
		}
		if exitCode(err) != 1 {
			t.Errorf("%v: exit code %d", tt.args, exitCode(err))
		}
	}
}

// Every command that only has subcommands refuses unknown ones, and lists them
// without an argument.
func TestCommandsThatHoldOthers(t *testing.T) {
	found := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if !c.HasSubCommands() {
			return
		}
		found++
		path := strings.Fields(c.CommandPath())[1:]
		if out, err := printedBy(t, append(path, "no-such-command")...); err == nil {
			t.Errorf("%v no-such-command does well:\n%s", path, out)
		}
		heading := "Available Commands:"
		if len(path) == 0 {
			heading = "Decide about runs:\n"
		}
		if out, err := printedBy(t, path...); err != nil || !strings.Contains(out, heading) || strings.Contains(out, "Additional Commands") {
			t.Errorf("%v alone: %v\n%s", path, err, out)
		}
	}
	root := newRootCommand()
	walk(root)
	if found < 8 {
		t.Errorf("%d commands hold others", found)
	}
}

// Ctrl-C while Gantry doesn't answer is no error to explain.
func TestInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	gantry := fakeGantry(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		interrupt()
		<-r.Context().Done()
	}))
	t.Setenv("GANTRY_TOKEN", annToken)
	var out, complaints strings.Builder
	if code := run(ctx, []string{"runs", "list", "--url", gantry.URL}, nil, &out, &complaints); code != exitInterrupted || complaints.String() != "gantry: interrupted\n" {
		t.Errorf("exit code %d: %s", code, complaints.String())
	}
}

// Help breaks lines between words where the terminal ends; in a pipe they stay as they are.
func TestHelpFits(t *testing.T) {
	stopClock(t)
	var walk func(c *cobra.Command, check func(args []string))
	walk = func(c *cobra.Command, check func(args []string)) {
		for _, sub := range c.Commands() {
			walk(sub, check)
		}
		check(append(strings.Fields(c.CommandPath())[1:], "--help"))
	}
	walk(newRootCommand(), func(args []string) {
		for _, columns := range []int{80, 100} {
			out, complaints := screenOf(t, columns, args)
			for line := range strings.Lines(out) {
				line = strings.TrimRight(line, "\n")
				example := strings.HasPrefix(line, "  ") && (strings.Contains(line, "gantry ") || strings.Contains(line, "terraform") || strings.Contains(line, "SPACELIFT_"))
				if len([]rune(line)) > columns && !example {
					t.Errorf("%v: %d columns don't hold %q", args, columns, line)
				}
			}
			if complaints != "" || out == "" {
				t.Errorf("%v: %s%s", args, out, complaints)
			}
		}
	})
	if out, err := printedBy(t, "help", "runs", "list"); err != nil || !strings.Contains(out, "gantry runs list [flags]") {
		t.Errorf("gantry help runs list: %v\n%s", err, out)
	}
}
