// Package notify sends one message to one channel: a Slack incoming webhook, or
// a generic webhook signed as https://www.standardwebhooks.com says.
//
// A Send is one request. It never tries again: what its error says decides
// whether that helps. RefusedError, InvalidMessageError, BlockedAddressError and
// UnknownChannelError stay what they are, however often the message is sent;
// UnavailableError may pass. A message may arrive twice, when the answer to the
// first request got lost: a webhook's receiver recognises it by its id, people
// in Slack see it twice.
//
// Channels come from configuration, and what a message holds comes from commits
// and notes that anybody wrote. Neither is trusted: addresses inside the own
// network are refused when they are dialled (guard.go), redirects are not
// followed, answers are bounded, no text can forge a mention or a link in Slack
// (slack_text.go), and no error holds a channel's URL beyond its host, its
// secret, or what the other side answered.
package notify
