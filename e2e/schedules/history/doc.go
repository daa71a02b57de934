// Package history is the record of one batch of schedules: all that the simulated
// Spacelift saw and did, all that Gantry was asked and answered, and all that the
// driver did to both.
//
// A history is JSON Lines, one Record a line, in the order in which the driver
// learned of them. A record that took time (a request, a read, a mutation) is
// written at its end and carries its beginning: whatever it observed or did
// happened between the two. State changes, stack settings and effects are written
// while the simulator holds its lock, so their order is the order in which they
// happened.
package history
