package client_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestImportingTheClientIsLight builds a program of another team that imports
// package gantry, and with it the generated client, and nothing else, and checks what
// that pulls in.
func TestImportingTheClientIsLight(t *testing.T) {
	gen, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(gen, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module example.com/tool\n\ngo 1.26.0\n\n" +
			"require github.com/gantryhq/gantry/gen v0.0.0\n\nreplace github.com/gantryhq/gantry/gen => " + gen + "\n",
		"go.sum": string(sums),
		"main.go": "package main\n\nimport \"github.com/gantryhq/gantry/gen/gantry\"\n\n" +
			"func main() {\n\tif _, err := gantry.New(\"http://127.0.0.1:8080\"); err != nil {\n\t\tpanic(err)\n\t}\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}

	run("build", "-o", filepath.Join(dir, "tool"), ".")
	requirements, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	// go.sum has a line for every module in the graph, also for those that
	// give no package to the program.
	for what, list := range map[string]string{
		"go.mod":   string(requirements),
		"go.sum":   "github.com/gantryhq/gantry/gen\n" + string(sums),
		"packages": run("list", "-deps", "."),
	} {
		if !strings.Contains(list, "github.com/gantryhq/gantry/gen") {
			t.Errorf("%s misses the client itself:\n%s", what, list)
		}
		for _, heavy := range []string{"go.temporal.io", "google.golang.org/grpc", "github.com/gantryhq/gantry/server", "github.com/getkin/kin-openapi"} {
			if strings.Contains(list, heavy) {
				t.Errorf("%s holds %s:\n%s", what, heavy, list)
			}
		}
	}
	if lines := strings.Count(string(sums), "\n"); lines > 60 {
		t.Errorf("go.sum has %d lines; keep gen light", lines)
	}
}
