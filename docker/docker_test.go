// Package docker holds no code: its tests check the files that docker/stack and
// docker/build run by, without an engine. e2e/docker runs them.
package docker

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// service is the checked part of a container in the compose files.
type service struct {
	Logging struct {
		Driver  string
		Options map[string]string
	}
	SecurityOpt []string `yaml:"security_opt"`
}

// No container fills the disk with what it says, and none gains rights it was not
// started with.
func TestContainersAreBounded(t *testing.T) {
	files, err := filepath.Glob("compose*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d compose files, %v", len(files), err)
	}
	logs, fenced := map[string]bool{}, map[string]bool{} // by service, whichever file says so
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var compose struct{ Services map[string]service }
		if err := yaml.Unmarshal(content, &compose); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for name, s := range compose.Services {
			rotated := s.Logging.Driver == "json-file" && s.Logging.Options["max-size"] != "" && s.Logging.Options["max-file"] != ""
			logs[name] = logs[name] || rotated
			fenced[name] = fenced[name] || slices.Contains(s.SecurityOpt, "no-new-privileges:true")
		}
	}
	for name := range logs {
		if !logs[name] {
			t.Errorf("nothing bounds the log of %s", name)
		}
		if !fenced[name] {
			t.Errorf("%s may gain privileges", name)
		}
	}
}

// docker/build passes on what the engine complains of, and ends with it, but says
// nothing of the age of its builder.
func TestBuildSwallowsOneNoticeAlone(t *testing.T) {
	script, err := os.ReadFile("build")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(script), "without_notice() {")
	body, _, ends := strings.Cut(after, "\n}\n")
	if !found || !ends || !strings.Contains(string(script), "set -euo pipefail") || !strings.Contains(string(script), "2>&1 >/dev/null |\n\t\twithout_notice >&2") {
		t.Fatal("the build is not filtered, or its failure gets lost")
	}
	filter := exec.CommandContext(t.Context(), "bash", "-c", body)
	filter.Stdin = strings.NewReader("DEPRECATED: The legacy builder is deprecated and will be removed in a future release.\n" +
		"            Install the buildx component to build images with BuildKit:\n            https://docs.docker.com/go/buildx/\n\n" +
		"COPY failed: no such file\n  DEPRECATED: another thing\n")
	out, err := filter.Output()
	if want := "COPY failed: no such file\n  DEPRECATED: another thing\n"; err != nil || string(out) != want {
		t.Errorf("it passes on %q, %v, want %q", out, err, want)
	}
}

// The older docker-compose, which is the pickier one, reads each stack that
// docker/stack can start.
func TestComposeReadsTheFiles(t *testing.T) {
	compose, err := exec.LookPath("docker-compose")
	if err != nil {
		t.Skip("there is no docker-compose")
	}
	for _, files := range []string{
		"compose.yaml", "compose.yaml:compose.simulator.yaml", "compose.yaml:compose.postgres.yaml:compose.simulator.yaml", "compose.yaml:compose.official.yaml:compose.simulator.yaml",
	} {
		cmd := exec.CommandContext(t.Context(), compose, "config", "--quiet")
		cmd.Env = append(os.Environ(), "COMPOSE_FILE="+files, "SECRETS_DIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.ReplaceAll(files, ":", " "), err, out)
		}
	}
}

// docker/stack up prints a line per step with the time it took, and commands that
// need nothing but the containers.
func TestUpPrintsItsSteps(t *testing.T) {
	dir := t.TempDir()
	engine := "#!/usr/bin/env bash\n[[ $* != *health* ]] || echo ready\n"
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(engine), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "./stack", "up")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "SECRETS_DIR="+filepath.Join(dir, "secrets"), "GANTRY_ACCOUNT=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`(?m)^started the containers in \d+ s$`, `(?m)^Gantry was ready \d+ s later$`, `(?m)^  ready$`,
		`exec -T simulator /gantry-dev push network-prod`, `(?m)gantry /gantry runs watch "\$run"$`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("it prints no %s:\n%s", want, out)
		}
	}
}
