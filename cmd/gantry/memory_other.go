//go:build !linux

package main

import (
	"log/slog"
	"runtime/debug"
)

// releaseStart gives back the memory that only the start needed.
func releaseStart(*slog.Logger) { debug.FreeOSMemory() }
