// Package inbox is the durable front door: what the webhook accepted is on
// disk before it is answered, and reaches Temporal later, whatever happens in
// between.
//
// [Inbox.Accept] stores a run event with fsync, many concurrent ones with a
// single fsync. A [Forwarder] takes what is pending to a [Target], one signal
// for all waiting events of a run, in order, runs side by side. [Inbox.Log],
// [Inbox.List], [Inbox.Get] and [Inbox.Redeliver] are the delivery log: every
// request to the webhook, with what became of it.
//
// # Files
//
// The inbox owns its directory; a lock file keeps a second process out.
//
//	accepted/00000001.seg …  accepted events with their bodies, and marks
//	                         that say what became of them; fsynced
//	ignored/00000001.seg …   the log of ignored, duplicate and unavailable
//	                         deliveries; written late and without fsync
//	refused/00000001.seg …   the log of refused deliveries, on its own so that
//	                         strangers cannot push out anything else
//
// A segment is a run of frames (frame.go), each with its own checksum; a
// frame holds a record (record.go). Segments are append-only until they are
// sealed; a sealed one is only ever replaced as a whole or removed, oldest
// first. docs/adr/0003-inbox-store.md says why it is not an embedded database.
//
// # What it promises
//
//   - Accepted means fsynced. A kill, a power cut, a full disk or damage to
//     another part of the file takes back no accepted event.
//   - An event is forwarded at least once and, per run, in the order accepted.
//     A crash between a signal and its mark sends the signal again: the
//     receiver recognises repeats.
//   - A repeat of an event that is still in the log is a duplicate, also after
//     a restart, and is not forwarded.
//   - What is pending is never trimmed. Budgets bound everything else.
package inbox
