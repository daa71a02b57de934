// Package wal is a log on disk: numbered records of bytes, each of which may be
// pending until somebody says that it is done. It knows nothing else of them.
//
// # Files
//
//	*.wal    segments, each named after its first record's index (block.go)
//	spare    the next segment, written with zeros in advance, because a flush is three
//	         times as fast if it changes only data
//	ballast  room for the moment when the disk is full: for the spare, or for the user
//
// Memory holds four bytes per record.
//
// # Guarantees
//
//   - Records that Append returned an index for are on disk. A kill, a power cut, a full
//     disk or damage to another part of the log doesn't lose them.
//   - Records that it returned an error for don't reappear, and no flush is repeated on
//     the same data: the segment is left and read again, and the next one begins behind
//     its last acknowledged record.
//   - A torn end, as a crash leaves it, is no damage. Damage is reported, and what is
//     readable before and behind it is kept.
//   - Pending records are never deleted, and don't keep what follows them on disk for long:
//     a segment that has few of them is written anew with them alone.
//
// One goroutine may call Append and Seal, and another one Trim, at a time; all other
// methods of [Log] may be called concurrently.
package wal
