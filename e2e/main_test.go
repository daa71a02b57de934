package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gantryhq/gantry/e2e/postgres"
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
		programs := map[string]string{gantryBinary: "../cmd/gantry", labBinary: "../cmd/gantry-dev"}
		switch store := os.Getenv(temporalVariable); store {
		case "":
		case "postgres":
			if cluster, err = postgres.Start(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			defer cluster.Close()
			fallthrough
		case "sqlite":
			temporalBinary = filepath.Join(dir, "temporal-server")
			programs[temporalBinary] = "../docker/temporal"
		default:
			fmt.Fprintf(os.Stderr, "%s=%s: give sqlite or postgres, or nothing for the embedded Temporal\n", temporalVariable, store)
			return 1
		}
		for binary, pkg := range programs {
			build := exec.Command("go", "build", "-o", binary, pkg)
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}
