// Package model is a small model of Gantry's policy, written from docs/ alone: the
// labels of a stack, the configuration, windows, freezes, approvals, chains and
// retries, and what they allow for which plan at which time.
//
// The checker judges Gantry by it, so it imports nothing of Gantry's own
// decisions; a test asks the go command. It is deliberately naive. Where the
// documents leave a case open, the model says so (Policy.Unclear), and the checker
// doesn't judge.
package model
