// Package inbox is the durable front door: it stores the webhook's events on
// disk before they are answered, and forwards them to Temporal later, whatever
// happens in between.
//
// [Inbox.Accept] stores an event with fsync; concurrent events share one fsync. A
// [Forwarder] sends pending events to a [Target]: one signal for all waiting
// events of a run, in order, and runs in parallel. [Inbox.Log], [Inbox.List],
// [Inbox.Get] and [Inbox.Redeliver] are the delivery log: every request to the
// webhook, with its outcome.
//
// # On disk
//
// A lock excludes a second process from the folder. docs/adr/0003-inbox-store.md
// explains the choices.
//
//	*.wal       the log (package wal) of events as they arrived, and of marks, which
//	            say how they were forwarded (record.go)
//	archive.db  what people list, in SQLite (package archive): it follows the log
//	            (follow.go)
//
// Memory holds four bytes per record of the log, the keys of the last accepted events, and a
// bounded queue, in which no account waits for another (package queue). The events beyond
// its bound are read back from the log.
//
// # Guarantees
//
//   - Accepted means fsynced. A kill, a power cut, a full disk or damage to
//     another part of the log doesn't lose an accepted event.
//   - An event is forwarded at least once and, per run, in the order accepted.
//     A crash between a signal and its mark sends the signal again: the
//     receiver recognises repeats.
//   - A repeat of one of the last accepted events is a duplicate, even after a
//     restart, and is not forwarded, unless that event is dead.
//   - Pending events are never deleted. Budgets limit everything else, and how many of
//     them are listed.
//   - Damage is reported, and whatever is readable before it is kept.
package inbox
