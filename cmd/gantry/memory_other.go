//go:build !linux

package main

import "log/slog"

// mappings are those of the program's file where Gantry knows how to give back their pages.
type mappings struct{}

func programFile(*slog.Logger) (none mappings) { return none }

func (mappings) release(*slog.Logger) {}
