// Package reconcile decides what to repair in one account, by what executions know and
// what Spacelift shows, and which findings operators are notified of.
package reconcile
