package inbox

import "golang.org/x/sys/unix"

// nap sleeps for the shortest time that the kernel knows, some 50 µs: a timer of Go
// would take up to a millisecond.
func nap() { _ = unix.Nanosleep(&unix.Timespec{Nsec: 1}, nil) } // the error is of a signal: it was shorter
