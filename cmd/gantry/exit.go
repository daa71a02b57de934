package main

import (
	"errors"
	"fmt"

	"github.com/gantryhq/gantry/gen/api"
)

// The exit codes besides 0, and 1 for any other error. They are a contract with
// scripts; docs/reference/cli.md lists them.
const (
	exitDrift     = 3 // gantry setup --check: something differs
	exitRefused   = 4 // Gantry refused the request
	exitNotInTime = 5 // --timeout passed before the run had ended
	exitUnchecked = 6 // gantry setup --check: nothing seems to differ, but some of it could not be checked
	exitEnded     = 19
)

// exitOfState maps the state in which a run ended to the exit code; other states
// are exitEnded.
var exitOfState = map[string]int{"FINISHED": 0, "FAILED": 10, "DISCARDED": 11, "CANCELED": 12, "STOPPED": 13, "SKIPPED": 14}

// endedAs returns how a run ended as an error; nil if it finished.
func endedAs(run api.Run) error {
	code, known := exitOfState[run.State]
	if !known {
		code = exitEnded
	}
	if code == 0 {
		return nil
	}
	return &exitError{code, fmt.Errorf("%s ended as %s: %s",
		runName{run.Account, run.Stack, run.Run}, clean(run.State), clean(deref(run.Outcome)))}
}

// exitError ends the process with an exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitCode returns the exit code of the process: 1 for an error without its own.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return 1
}
