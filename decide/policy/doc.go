// Package policy says what the labels of a stack and the configuration ask of
// Gantry: the grammar of labels, profiles, windows, freezes and clocks. It
// decides nothing and calls nothing; given the same arguments it gives the same
// answers.
package policy
