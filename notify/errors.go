package notify

import (
	"fmt"
	"net/netip"
	"time"
)

// UnknownChannelError: no channel has this name. Final.
type UnknownChannelError struct {
	Channel string
}

func (e *UnknownChannelError) Error() string {
	return fmt.Sprintf("there is no notification channel %q", e.Channel)
}

// InvalidMessageError: the message lacks what every message has. Final.
type InvalidMessageError struct {
	Reason string
}

func (e *InvalidMessageError) Error() string {
	return "the message " + e.Reason
}

// RefusedError: the other side doesn't want this message, and won't want it when
// it is sent again: 4xx, a redirect, or one of Slack's words for it. Final.
type RefusedError struct {
	Channel string
	Status  int
	Reason  string // a sentence of ours; never text of the answer, but for Slack's own words
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("channel %q refused the message with status %d: %s", e.Channel, e.Status, e.Reason)
}

// UnavailableError: the message did not arrive, or nobody knows whether it did;
// sending it again may help. 5xx, 408, 425, 429, a failing network, or settings
// that are unreadable for now.
type UnavailableError struct {
	Channel    string
	Status     int           // 0 without an answer
	RetryAfter time.Duration // what the other side asked for, an hour at most; 0 when it named no time
	Err        error         // without an answer: why
}

func (e *UnavailableError) Error() string {
	text := fmt.Sprintf("channel %q is unavailable", e.Channel)
	if e.Status != 0 {
		text += fmt.Sprintf(": it answered with status %d", e.Status)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.RetryAfter > 0 {
		text += fmt.Sprintf(", and asks to come back in %s", e.RetryAfter)
	}
	return text
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// BlockedAddressError: the channel's host leads to an address that isn't public,
// and the channel may not use such. Nothing was sent. Final, as far as names
// don't change where they lead.
type BlockedAddressError struct {
	Channel string
	Address netip.Addr
}

func (e *BlockedAddressError) Error() string {
	return fmt.Sprintf("channel %q leads to %s, which is not a public address", e.Channel, e.Address)
}
