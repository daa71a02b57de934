// Package script makes of a seed all that can be fixed of a batch: the
// configuration, the people, each schedule's stacks, labels and steps, and the
// mishaps.
//
// Each schedule draws from a seed of its own, so that a batch of fewer schedules
// has the same ones.
package script
