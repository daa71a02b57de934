// Package e2e drives the built programs from outside: over HTTP, with signals
// and with a real Temporal server.
package e2e
