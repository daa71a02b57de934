// Package expression evaluates expressions over plans: conditions in CEL, the Common
// Expression Language (https://cel.dev), that a configuration holds. They are compiled
// and checked when the configuration is loaded; evaluating one is a pure function of
// its facts, the time included.
package expression
