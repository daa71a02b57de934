// Package chain decides about one chain of stacks that follow each other: which of
// them Gantry triggers, holds or skips next, and why.
package chain
