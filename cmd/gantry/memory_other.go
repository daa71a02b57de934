//go:build !linux

package main

import "log/slog"

// releaseProgram gives back the pages of the program's file where Gantry knows how.
func releaseProgram(*slog.Logger) {}
