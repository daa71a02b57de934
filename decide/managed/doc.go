// Package managed decides about one run that Gantry manages: events become facts,
// and facts become the next step, each with its reason.
//
// Everything is a plain function of what Gantry knows and the time. The package
// calls nothing, reads no clock and imports nothing of Temporal: a workflow replays
// it. Its ids, messages and statuses are the words that the server, the inbox,
// activities and workflows share.
package managed
