// Package output prints what the commands of gantry answer: as tables that fit the
// terminal, as JSON or YAML, or as names for scripts. Everything that it prints is
// cleaned of the characters that a terminal obeys.
package output
