// Package freeze decides about the freezes of one account: which are in effect, which
// requests are refused, and which runs are notified of a change.
package freeze
