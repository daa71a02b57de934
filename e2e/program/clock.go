package program

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ClockVariable is the environment variable by which the clock of a program that
// BuildWithClock built is ahead, as whole seconds; it is behind by negative ones.
const ClockVariable = "E2E_CLOCK_AHEAD"

// BuildWithClock is Build for a program whose wall clock ClockVariable moves. Timers, and
// the time that passes between two calls of time.Now, are those of the machine. It compiles
// the program against a copy of the standard library's time.Now, since the program has no
// seam for it and needs none.
func BuildWithClock(folder string) (binary string, err error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find the standard library: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("read time.Now: %w", err)
	}
	changed, err := withClock(string(text))
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "clock")
	if err != nil {
		return "", fmt.Errorf("build %s: %w", folder, err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is in the folder of temporary files
	overlay, replaced := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "time.go")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: replaced}})
	if err == nil {
		err = os.WriteFile(replaced, []byte(changed), 0o600)
	}
	if err == nil {
		err = os.WriteFile(overlay, list, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("build %s: %w", folder, err)
	}
	return build(folder, filepath.Base(folder)+"-clock", "-overlay", overlay)
}

// withClock returns the source of package time with a clock that can be moved.
func withClock(source string) (string, error) {
	const reads = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(source, reads) != 1 {
		return "", fmt.Errorf("move time.Now: this Go has another one, so change %q in e2e/program/clock.go", reads)
	}
	source = strings.Replace(source, reads, reads+"\tsec += ahead\n", 1)
	source = strings.Replace(source, "import (\n", "import (\n\t\"syscall\"\n", 1)
	return source + `
var ahead = func() (seconds int64) {
	text, _ := syscall.Getenv("` + ClockVariable + `")
	negative := len(text) > 0 && text[0] == '-'
	for _, digit := range text {
		if '0' <= digit && digit <= '9' {
			seconds = 10*seconds + int64(digit-'0')
		}
	}
	if negative {
		return -seconds
	}
	return seconds
}()
`, nil
}
