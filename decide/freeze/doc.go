// Package freeze decides about the freezes of one account: which are in effect, which
// requests are refused, and whom a change concerns.
package freeze
