// Package policy resolves the labels of a stack and the configuration to rules for
// Gantry: the grammar of labels, profiles, windows, freezes and clocks. It calls
// nothing; the same arguments give the same answers.
package policy
