//go:build !unix

package inbox

import "os"

// lockFile does nothing: systems without flock are for trying Gantry out, and
// there the operator sees to it that an inbox has one process.
func lockFile(*os.File) (held bool, err error) { return true, nil }

func unlockFile(*os.File) error { return nil }
