// Package queue decides which run's events are sent next. It holds runs with pending
// events, each in a lane: for each account there is one of the runs that have executions,
// and one of its new runs, which is paced. Lanes take turns.
//
// # Guarantees
//
//   - The events of a run are sent in the order in which they arrived, and a run is with
//     one sender at a time.
//   - An account that floods its lane delays no other lane.
//   - Memory is bounded. A lane without room holds the places of its events in the log, and
//     what follows of their runs. Beyond a number of held events all that follow are unread:
//     [Queue.Refill] gets them from the log.
//
// A [Queue] is not safe for concurrent use; its user has a mutex.
package queue
