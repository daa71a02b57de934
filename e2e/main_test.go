package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The programs under test, built once.
var gantryBinary, labBinary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "gantry-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		gantryBinary, labBinary = filepath.Join(dir, "gantry"), filepath.Join(dir, "gantry-dev")
		for binary, pkg := range map[string]string{gantryBinary: "../cmd/gantry", labBinary: "../cmd/gantry-dev"} {
			build := exec.Command("go", "build", "-o", binary, pkg)
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}
