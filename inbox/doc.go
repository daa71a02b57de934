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
// # On disk
//
// The store is SQLite: inbox.db with its write-ahead log, in a folder of its
// own. It is locked, so that a second process is kept out.
// docs/adr/0003-inbox-store.md says why it is SQLite.
//
//	batches  a row per commit: the records of its events (record.go), and apart
//	         from them their bodies, until they are trimmed
//	marks    a row per row of batches: what became of its events
//	log      the deliveries that were not accepted, many to a row, written late;
//	         refused ones count on their own, so that strangers cannot push out
//	         anything else
//	owner    which process opened the file last
//
// Everything that is looked for is found in memory: an index of 80 bytes per
// event, built at the start.
//
// The file does not grow beyond what the budgets and the pending events need:
// space that trimming frees is used again. It does not shrink either, until a
// start finds more than half of it free. The log beside it has some 1 MiB, more
// only while the disk is full.
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
//   - Damage is told, and what it left readable is kept.
package inbox
