// Package hack holds no code: its tests run the scripts here and the Makefile's
// variables.
package hack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// fakeGo is a go command for which three packages are to be compiled, one of
// which is broken if the file broken exists, and none if cached exists.
const fakeGo = `#!/usr/bin/env bash
echo "$*" >>"$FAKE/calls"
case $1 in
list)
	echo "go: downloading example.com/a v1.0.0" >&2
	[[ -e $FAKE/cached ]] || printf 'a\n\nb\nexample.com/c-d/v2\n'
	;;
build)
	[[ ! -e $FAKE/cached ]] || exit 0
	printf 'a\nb\n' >&2
	if [[ -e $FAKE/broken ]]; then
		printf '# b\nb/b.go:4:11: undefined: y\n' >&2
		exit 3
	fi
	echo example.com/c-d/v2 >&2
	;;
esac
`

// compile runs hack/compile with a fake go, on stderr if that is given.
func compile(t *testing.T, terminal *os.File, state string) (out string, calls []string, err error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"go": fakeGo, state: ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "./compile", "-o", "bin/", "-ldflags", "-s -w", "./cmd/gantry")
	cmd.Env = append(os.Environ(), "FAKE="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if terminal != nil {
		cmd.Stderr = terminal
	}
	err = cmd.Run()
	log, readErr := os.ReadFile(filepath.Join(dir, "calls"))
	if readErr != nil {
		t.Fatal(readErr)
	}
	return printed.String(), strings.Split(strings.TrimSpace(string(log)), "\n"), err
}

// Where there is no terminal, compile prints what go complains of and no progress
// of builds that take a moment.
func TestCompileOutsideATerminal(t *testing.T) {
	out, calls, err := compile(t, nil, "fine")
	if err != nil || !regexp.MustCompile(`^fetched modules: 1, in \d+ s\n$`).MatchString(out) {
		t.Errorf("it printed %q, %v", out, err)
	}
	if len(calls) != 2 || strings.Contains(calls[0], "-o") || !strings.HasSuffix(calls[0], "-ldflags -s -w ./cmd/gantry") ||
		calls[1] != "build -v -o bin/ -ldflags -s -w ./cmd/gantry" {
		t.Errorf("it ran %q", calls)
	}

	out, _, err = compile(t, nil, "broken")
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 || !strings.Contains(out, "# b\nb/b.go:4:11: undefined: y\n") {
		t.Errorf("a build that fails printed %q, %v", out, err)
	}
	if _, calls, err = compile(t, nil, "cached"); err != nil || calls[1] != "build -o bin/ -ldflags -s -w ./cmd/gantry" {
		t.Errorf("a cached build ran %q, %v", calls, err)
	}
}

// On a terminal one line counts packages, and nothing of it stays.
func TestCompileOnATerminal(t *testing.T) {
	terminal, screen := newTerminal(t)
	if _, _, err := compile(t, terminal, "fine"); err != nil {
		t.Fatal(err)
	}
	_ = terminal.Close()
	shown, _ := io.ReadAll(screen) // until the terminal is closed, which is an error here
	out := string(shown)
	for _, want := range []string{"\r\x1b[Kfetching modules: 1, ", "\r\x1b[Kcompiling: 1 of 3 packages, ", "\r\x1b[Kcompiling: 3 of 3 packages, "} {
		if !strings.Contains(out, want) {
			t.Errorf("the terminal shows no %q:\n%q", want, out)
		}
	}
	if !strings.HasSuffix(out, "\r\x1b[K") {
		t.Errorf("the last line is not erased: %q", out)
	}
}

// newTerminal opens a pseudo-terminal.
func newTerminal(t *testing.T) (terminal, screen *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	var unlocked, number int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlocked, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, screen.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return terminal, screen
}

// make compiles with -trimpath and with the flags of its caller.
func TestMakeKeepsTheCallersFlags(t *testing.T) {
	for _, tc := range []struct {
		env, arg, want string
	}{
		{env: "GOFLAGS=-tags=x -mod=mod", want: "-trimpath -tags=x -mod=mod"},
		{env: "GOFLAGS=-trimpath -tags=x", want: "-trimpath -tags=x"},
		{env: "GOFLAGS=-tags=x", arg: "GOFLAGS=-tags=y", want: "-trimpath -tags=y"},
	} {
		args := []string{"--no-print-directory", "-s", "-C", "..", "--eval", "show: ; @echo \"$$GOFLAGS\"", "show"}
		if tc.arg != "" {
			args = append(args, tc.arg)
		}
		cmd := exec.CommandContext(t.Context(), "make", args...)
		cmd.Env = append(os.Environ(), tc.env, "MAKEFLAGS=")
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != tc.want {
			t.Errorf("%s make %s compiles with %q, %v; want %q", tc.env, tc.arg, got, err, tc.want)
		}
	}
}
