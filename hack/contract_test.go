package hack

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// promised is the contract of a version that callers use.
const promised = `openapi: 3.1.0
info: {title: t, version: 0.1.0}
paths:
  /v1/runs:
    get:
      operationId: listRuns
      parameters:
        - {name: stack, in: query, schema: {type: string}}
      responses:
        '200':
          description: ok
          content:
            application/json:
              schema: {$ref: '#/components/schemas/Run'}
components:
  schemas:
    Run:
      type: object
      required: [state]
      properties:
        state: {type: string}
        note: {type: string}
`

// A change that breaks callers of the last tagged version fails, and is named; an addition
// passes.
func TestContract(t *testing.T) {
	for name, tt := range map[string]struct {
		tag   string
		old   string
		new   string
		fails bool
		says  string
	}{
		"nothing is tagged":         {new: "", says: "no version is tagged"},
		"nothing changes":           {tag: "v0.1.0"},
		"a tag of something else":   {tag: "nightly", old: "/v1/runs:", new: "/v1/run:", says: "no version is tagged"},
		"an optional parameter":     {tag: "v0.1.0", old: "      responses:", new: "        - {name: state, in: query, schema: {type: string}}\n      responses:"},
		"a member in an answer":     {tag: "v0.1.0", old: "        note:", new: "        url: {type: string}\n        note:"},
		"an operation is gone":      {tag: "v0.1.0", old: "/v1/runs:", new: "/v1/run:", fails: true, says: "GET /v1/runs"},
		"a member is gone":          {tag: "v0.1.0", old: "required: [state]\n      properties:\n        state: {type: string}\n", new: "properties:\n", fails: true, says: "state"},
		"another type":              {tag: "v0.1.0", old: "state: {type: string}", new: "state: {type: integer}", fails: true, says: "state"},
		"a parameter must be given": {tag: "v0.1.0", old: "in: query,", new: "in: query, required: true,", fails: true, says: "stack"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "openapi", "gantry.yaml")
			run := func(name string, args ...string) (string, error) {
				cmd := exec.CommandContext(t.Context(), name, args...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com", "GIT_CONFIG_GLOBAL=/dev/null")
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			write := func(text string) {
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(promised)
			steps := [][]string{{"init", "-q"}, {"add", "."}, {"commit", "-qm", "release"}}
			if tt.tag != "" {
				steps = append(steps, []string{"tag", tt.tag})
			}
			for _, args := range steps {
				if out, err := run("git", args...); err != nil {
					t.Fatalf("git %v: %v\n%s", args, err, out)
				}
			}
			write(strings.Replace(promised, tt.old, tt.new, 1))
			script, err := filepath.Abs("contract")
			if err != nil {
				t.Fatal(err)
			}
			if out, err := run(script); (err != nil) != tt.fails || !strings.Contains(out, tt.says) {
				t.Errorf("%v, want an error: %t\n%s", err, tt.fails, out)
			}
		})
	}
}
