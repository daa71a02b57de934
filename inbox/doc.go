// Package inbox is the durable front door: it stores the webhook's events on
// disk before they are answered, and forwards them to Temporal later, whatever
// happens in between.
//
// [Inbox.Accept] stores a run event with fsync; concurrent events share one
// fsync. A [Forwarder] sends pending events to a [Target]: one signal for all
// waiting events of a run, in order, and runs in parallel. [Inbox.Log],
// [Inbox.List], [Inbox.Get] and [Inbox.Redeliver] are the delivery log: every
// request to the webhook, with its outcome.
//
// # On disk
//
// The store is SQLite: inbox.db with its write-ahead log, in a folder of its
// own. A lock excludes a second process. docs/adr/0003-inbox-store.md explains
// why it is SQLite.
//
//	batches  a row per commit: the records of its events (record.go) and, in
//	         another column, their bodies until they are trimmed
//	marks    a row per row of batches: the forwarding of its events
//	log      the deliveries that were not accepted, many to a row, written late;
//	         refused ones have a budget of their own, so that strangers can't
//	         push out anything else
//	owner    the process that opened the file last
//
// All searches run in memory, on an index of 80 bytes per event that is built at
// the start.
//
// The file doesn't grow beyond the need of the budgets and the pending events:
// space that trimming frees is used again. The file shrinks only when a start
// finds more than half of it free. The write-ahead log has about 1 MiB, and more
// only while the disk is full.
//
// # Guarantees
//
//   - Accepted means fsynced. A kill, a power cut, a full disk or damage to
//     another part of the file doesn't lose an accepted event.
//   - An event is forwarded at least once and, per run, in the order accepted.
//     A crash between a signal and its mark sends the signal again: the
//     receiver recognises repeats.
//   - A repeat of an event that is still in the log is a duplicate, even after a
//     restart, and is not forwarded.
//   - Pending events are never trimmed. Budgets limit everything else.
//   - Damage is reported, and whatever is still readable is kept.
package inbox
