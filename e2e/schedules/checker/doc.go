// Package checker judges a history: it reads what Spacelift saw, what Gantry was
// asked and answered, its messages and the mishaps, and finds where a promise of
// docs/guarantees.md was broken. It knows nothing of Gantry's code; policy comes
// from the model, which was written from the documents.
//
// Each rule is a pure function from a history to violations, and each violation
// quotes the records that show it. What Gantry couldn't know is not held against
// it: an act is judged by all that may have been in effect at any instant between
// Gantry's last read and the act, and it is a violation only if every one of these
// forbids the act.
package checker
