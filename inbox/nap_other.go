//go:build !linux

package inbox

import "runtime"

// nap lets others work.
func nap() { runtime.Gosched() }
