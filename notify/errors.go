package notify

import (
	"fmt"
	"net/netip"
	"time"
)

// UnknownChannelError reports that no channel has this name. It is final.
type UnknownChannelError struct {
	Channel string
}

func (e *UnknownChannelError) Error() string {
	return fmt.Sprintf("unknown notification channel %q", e.Channel)
}

// InvalidMessageError reports that a field of the message is missing or invalid.
// It is final.
type InvalidMessageError struct {
	Reason string
}

func (e *InvalidMessageError) Error() string {
	return "the message " + e.Reason
}

// RefusedError reports that the receiver refused the message and would refuse it
// again: 4xx, a redirect, or a refusal that Slack names. It is final.
type RefusedError struct {
	Channel string
	Status  int
	Reason  string // our own sentence; of the answer it quotes Slack's error codes only
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("channel %q refused the message with status %d: %s", e.Channel, e.Status, e.Reason)
}

// UnavailableError reports that the message did not arrive, or may not have. A
// retry may help. The cause is a status of 5xx, 408, 425 or 429, the network, or
// settings that can't be read now.
type UnavailableError struct {
	Channel    string
	Status     int           // 0 without an answer
	RetryAfter time.Duration // the wait that the receiver asked for, at most an hour; 0 if it named none
	Err        error         // the cause, when there was no answer
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
		text += fmt.Sprintf("; retry in %s", e.RetryAfter)
	}
	return text
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// BlockedAddressError reports that the channel's host resolves to an address that
// isn't public, and that the channel may not use such addresses. Nothing was
// sent. It is final unless the name resolves to another address later.
type BlockedAddressError struct {
	Channel string
	Address netip.Addr
}

func (e *BlockedAddressError) Error() string {
	return fmt.Sprintf("channel %q resolves to %s, which is not a public address", e.Channel, e.Address)
}
