package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gantryhq/gantry/e2e/program"
)

// The walkthrough's commands, run in order in one bash, print the documented output.
//
// The lab gets free ports, so a command that doesn't use the lab's variables
// fails; in the outputs they take the place of the ports that a reader sees.
func TestWalkthrough(t *testing.T) {
	var lab, ports []string
	for flag, port := range map[string]string{"--port": "8080", "--ops-port": "8081", "--simulator-port": "8090", "--temporal-port": "7233", "--temporal-ui-port": "8233"} {
		free := strconv.Itoa(program.FreePort(t))
		lab = append(lab, flag, free)
		ports = append(ports, "127.0.0.1:"+port, "127.0.0.1:"+free)
	}
	steps := readSteps(t, document(t, "../docs/walkthrough.md"), ports...)
	if len(steps) < 10 {
		t.Fatalf("only %d blocks were read", len(steps))
	}
	walk(t, steps, "ARGS="+strings.Join(lab, " "))
}

// The README's webhook and approval, in a shell in which the lab's exports were
// pasted.
func TestReadme(t *testing.T) {
	_, text, _ := strings.Cut(document(t, "../README.md"), "\n## Try one webhook\n")
	text, _, _ = strings.Cut(text, "\n## Design\n")
	steps := readSteps(t, text)
	if len(steps) != 3 || !strings.Contains(steps[2].output, "1 of 2 approvals") {
		t.Fatalf("the README shows %d steps: %+v", len(steps), steps)
	}
	l := startLab(t)
	anyPort := func(text string) string {
		return regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "127.0.0.1:<port>")
	}
	addresses := regexp.MustCompile(`(?ms)^  Pages .*?^$`).FindString(l.p.Out.String())
	if addresses == "" || !strings.Contains(anyPort(document(t, "../README.md")), "```\n"+anyPort(addresses)+"```") {
		t.Errorf("the README doesn't show what the lab prints:\n%s", addresses)
	}
	walk(t, append([]step{{commands: l.exports, prints: regexp.MustCompile(`^$`)}}, steps...))
}

func document(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// walk runs the steps in one bash and compares what they print.
func walk(t *testing.T, steps []step, env ...string) {
	t.Helper()
	for _, tool := range []string{"bash", "make", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the documents' commands need %s: %v", tool, err)
		}
	}
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	for i, s := range steps {
		fmt.Fprintf(&script, "%s\necho '%s'\n", s.commands, endOf(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience) // it builds programs
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", script.String())
	shell.Dir = ".."
	shell.Env = append(append(os.Environ(), env...), "TMPDIR="+t.TempDir())
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it started can be ended with it
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	t.Cleanup(func() { _ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) })
	out := &program.Output{}
	shell.Stdout, shell.Stderr = out, out
	shell.WaitDelay = patience
	ended := shell.Run()

	remaining := out.String()
	for i, s := range steps {
		printed, after, reached := strings.Cut(remaining, endOf(i)+"\n")
		if !s.prints.MatchString(printed) {
			t.Errorf("%s\nprinted\n%s\nwant\n%s", s.commands, printed, s.output)
		}
		if !reached {
			t.Fatalf("it ended there: %v\n%s", ended, logs(shell.Env))
		}
		remaining = after
	}
	if ended != nil || remaining != "" {
		t.Errorf("it ended with %v and printed %s", ended, remaining)
	}
}

// step is a block of commands and the output the document promises.
type step struct {
	commands, output string
	prints           *regexp.Regexp
}

func endOf(i int) string { return fmt.Sprintf("--- end of block %d ---", i) }

// readSteps reads the blocks of a document. A block of sh prints the next block
// without a language, or nothing. In an output <word> matches any text without a
// space or quote, and a line of … any lines. Pairs of an old and a new text change
// the outputs.
func readSteps(t *testing.T, text string, oldnew ...string) (steps []step) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		switch language, block := m[1], m[2]; {
		case language == "sh":
			steps = append(steps, step{commands: block})
		case language != "" || len(steps) == 0 || steps[len(steps)-1].output != "":
			t.Fatalf("what is this block for?\n%s", m[0])
		default:
			steps[len(steps)-1].output = strings.NewReplacer(oldnew...).Replace(block)
		}
	}
	for i, s := range steps {
		steps[i].prints = pattern(s.output)
	}
	return steps
}

// pattern returns the expression for an output of a document. The width of a
// table's columns depends on rows that a document omits, so two spaces match two or
// more.
func pattern(output string) *regexp.Regexp {
	var pattern strings.Builder
	literally := func(text string) string {
		return regexp.MustCompile(` {2,}`).ReplaceAllString(regexp.QuoteMeta(text), " {2,}")
	}
	from := 0
	for _, at := range regexp.MustCompile(`(?m)<[a-z]+>|^…\n`).FindAllStringIndex(output, -1) {
		pattern.WriteString(literally(output[from:at[0]]))
		if output[at[0]] == '<' {
			pattern.WriteString(`[^\s"]+`)
		} else {
			pattern.WriteString(`(?:.*\n)*?`)
		}
		from = at[1]
	}
	return regexp.MustCompile("^" + pattern.String() + literally(output[from:]) + "$")
}

func TestOutputsOfDocuments(t *testing.T) {
	const output = "…\n<time>  done  (2 added)\n…\nlast\n"
	for printed, want := range map[string]bool{
		"10:00  done  (2 added)\nlast\n":                  true,
		"a\n\nb \"c\"\n10:00  done  (2 added)\nd\nlast\n": true,
		"10:00  done       (2 added)\nlast\n":             true,
		"10:00  done (2 added)\nlast\n":                   false,
		"10:00  done  (3 added)\nlast\n":                  false,
		"at 10:00  done  (2 added)\nlast\n":               false,
		"10:00  done  (2 added)\nlast\nmore\n":            false,
	} {
		if got := pattern(output).MatchString(printed); got != want {
			t.Errorf("%q is that output: %t, want %t", printed, got, want)
		}
	}
}

// logs is the end of what the walkthrough's programs logged.
func logs(env []string) string {
	var all strings.Builder
	files, _ := filepath.Glob(strings.TrimPrefix(env[len(env)-1], "TMPDIR=") + "/*/*.log")
	for _, file := range files {
		content, _ := os.ReadFile(file)
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(file), content[max(0, len(content)-2000):])
	}
	return all.String()
}
