package program

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build compiles a program of this module, given by its folder, into bin/e2e, and
// returns the path of the binary. One that is up to date isn't linked again.
func Build(folder string) (binary string, err error) { return build(folder, filepath.Base(folder)) }

func build(folder, name string, flags ...string) (binary string, err error) {
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(gomod)))
	binary = filepath.Join(root, "bin", "e2e", name)
	build := exec.Command("go", append(append([]string{"build", "-ldflags", "-s -w", "-o", binary}, flags...), "./"+folder)...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", folder, err, out)
	}
	return binary, nil
}
