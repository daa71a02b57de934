// Package channels sends one message to one channel: a Slack incoming webhook, or
// a generic webhook signed by https://www.standardwebhooks.com.
//
// Send makes one request and never retries; its error says whether a retry
// helps. RefusedError, InvalidMessageError, BlockedAddressError and
// UnknownChannelError are final. UnavailableError may pass. A message may arrive
// twice if the answer to the first request was lost: a webhook's receiver
// recognises the repeat by its id, and people in Slack see it twice.
//
// Channels come from configuration. Anybody may have written the commits and
// notes that a message quotes. Gantry trusts neither: it refuses to dial
// addresses inside its own network (guard.go), follows no redirects and reads a
// bounded part of each answer. No text can forge a mention or a link in Slack
// (slack_text.go). No error holds a channel's secret, its URL beyond the host, or
// text of an answer.
package channels
