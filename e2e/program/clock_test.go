package program

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A program with a clock of its own shows another time, and its timers are the machine's.
func TestWithClock(t *testing.T) {
	dir := t.TempDir()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(goroot)), "src", "time", "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := withClock(string(text)); err != nil {
		t.Fatal(err)
	}
	if _, err := withClock("package time"); err == nil {
		t.Error("another standard library is no error")
	}
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	changed, _ := withClock(string(text))
	overlay := write("overlay.json", `{"Replace":{"`+filepath.Join(strings.TrimSpace(string(goroot)), "src", "time", "time.go")+`":"`+write("time.go", changed)+`"}}`)
	source := write("main.go", "package main\nimport \"time\"\nfunc main() { b := time.Now(); time.Sleep(time.Millisecond); print(b.Unix(), \" \", time.Since(b) < time.Minute) }\n")
	for ahead, want := range map[string]int64{"": 0, "180": 180, "-90": -90} {
		cmd := exec.Command("go", "run", "-overlay", overlay, source)
		cmd.Env = append(os.Environ(), ClockVariable+"="+ahead)
		out, err := cmd.CombinedOutput()
		shows, passed, _ := strings.Cut(string(out), " ")
		at, _ := strconv.ParseInt(shows, 10, 64)
		if off := at - time.Now().Unix() - want; err != nil || passed != "true" || off < -60 || off > 60 {
			t.Errorf("%q ahead: %s %v", ahead, out, err)
		}
	}
}
