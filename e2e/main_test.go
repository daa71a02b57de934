package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/gantryhq/gantry/e2e/postgres"
	"github.com/gantryhq/gantry/e2e/program"
)

// The programs under test.
var gantryBinary, labBinary string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	programs := map[string]*string{"cmd/gantry": &gantryBinary, "cmd/gantry-dev": &labBinary}
	switch store := os.Getenv(temporalVariable); store {
	case "":
	case "postgres":
		if cluster, err = postgres.Start(context.Background()); err != nil {
			return 0, err
		}
		defer cluster.Close()
		fallthrough
	case "sqlite":
		programs["docker/temporal"] = &temporalBinary
	default:
		return 0, fmt.Errorf("%s=%s: give sqlite or postgres, or nothing for the embedded Temporal", temporalVariable, store)
	}
	for folder, binary := range programs {
		if *binary, err = program.Build(folder); err != nil {
			return 0, err
		}
	}
	return m.Run(), nil
}
