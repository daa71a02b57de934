// Command judge reads histories of batches and prints what in them breaks a rule.
package main

import (
	"fmt"
	"os"

	"github.com/gantryhq/gantry/e2e/schedules/checker"
	"github.com/gantryhq/gantry/e2e/schedules/history"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "judge: name at least one history.jsonl")
		os.Exit(2)
	}
	broken := false
	for _, path := range os.Args[1:] {
		violations, err := judge(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "judge: %v\n", err)
			os.Exit(2)
		}
		for _, v := range violations {
			broken = true
			fmt.Fprintln(os.Stdout, v)
		}
	}
	if broken {
		os.Exit(1)
	}
}

func judge(path string) ([]checker.Violation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	records, err := history.Load(file)
	if err != nil {
		return nil, fmt.Errorf("judge %s: %w", path, err)
	}
	return checker.Check(records), nil
}
