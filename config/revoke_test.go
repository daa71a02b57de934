package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/config"
)

var revokedAt = time.Date(2026, 11, 29, 13, 0, 0, 0, time.FixedZone("CET", 3600))

// Revoking a token changes one line, whatever the file looks like around it.
func TestRevokeToken(t *testing.T) {
	for name, tt := range map[string]struct{ before, after string }{
		"lines": {
			"# mine\ntokens: # all of them\n  - name: ann # she\n    role: viewer\n  - role: admin\n    name: CI\n    hash: x\nlisten: a:1\n",
			"# mine\ntokens: # all of them\n  - name: ann # she\n    role: viewer\n  - revoked: 2026-11-29T12:00:00Z\n    role: admin\n    name: CI\n    hash: x\nlisten: a:1\n",
		},
		"one line": {
			"tokens:\n  - {name: ann, role: viewer}\n  - {name: ci, role: viewer}\n",
			"tokens:\n  - {name: ann, role: viewer}\n  - {revoked: \"2026-11-29T12:00:00Z\", name: ci, role: viewer}\n",
		},
		"a list on one line": {
			"tokens: [{name: ann}, {name: ci, groups: [a]}]",
			"tokens: [{name: ann}, {revoked: \"2026-11-29T12:00:00Z\", name: ci, groups: [a]}]",
		},
		"not indented, with line ends of Windows": {
			"tokens:\r\n- name: ci\r\n  role: viewer\r\n",
			"tokens:\r\n- revoked: 2026-11-29T12:00:00Z\n  name: ci\r\n  role: viewer\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "gantry.yaml")
			overwrite(t, file, tt.before)
			if err := config.RevokeToken(file, "ci", revokedAt); err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(file); string(got) != tt.after {
				t.Errorf("it is now\n%s\nwant\n%s", got, tt.after)
			}
			if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
				t.Errorf("mode %s", info.Mode())
			}
			if err := config.RevokeToken(file, "ci", revokedAt); err == nil || !strings.Contains(err.Error(), "was revoked at 2026-11-29T12:00:00Z") {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// A file that can't be edited safely stays as it is.
func TestRevokeTokenRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ content, want string }{
		"unknown":     {"tokens: [{name: ann}]\n", "has no token of the name ci"},
		"an alias":    {"tokens:\n  - &a {name: ci, role: viewer}\n  - *a\n", "into the entry of the token yourself"},
		"merged":      {"tokens:\n  - <<: {name: ci}\n    role: viewer\n  - name: b\n", ""},
		"not YAML":    {"tokens: [\n", "line"},
		"no settings": {"", "has no token of the name ci"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "gantry.yaml")
			overwrite(t, file, tt.content)
			err := config.RevokeToken(file, "ci", revokedAt)
			got, _ := os.ReadFile(file)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || string(got) != tt.content {
				t.Errorf("%v\n%s", err, got)
			}
			if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
				t.Errorf("it leaves %v", left)
			}
		})
	}
}

func overwrite(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
