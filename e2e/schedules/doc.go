// Package schedules drives the built programs with seeded random schedules, in a
// storm of mishaps, and records a history of all that happened.
//
// A batch runs two replicas with all roles, a worker, a real Temporal and a
// simulated Spacelift. In the storm, hundreds of schedules begin while processes
// are killed and paused and the network fails. Then it is calm: nothing goes wrong
// any more, and a janitor does what people must do by Gantry's own answers, until
// everything has ended or a bound has passed.
//
//	go run ./e2e/schedules/cmd -seed 7 -schedules 300
package schedules
