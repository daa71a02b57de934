// Package temporalserver runs a Temporal server inside this process: all four
// services, their database and, if asked, the web interface, with nothing
// installed and without network beyond loopback. It is for the lab, for
// end-to-end tests and for docker/temporal, which is a small server for
// production. It authenticates nobody.
//
// The database is SQLite in pure Go, in memory or in one file, or PostgreSQL
// elsewhere. A file survives kill -9 and serves one server at a time. Temporal's
// SQLite store has no migrations: a file made by a Temporal with another schema
// is refused. PostgreSQL's tables are brought up to date.
//
// Any number of servers can run in one process and each can be stopped and
// started again, also on the same port. What a stopped server leaves behind is
// some thirty idle goroutines of gRPC connections that Temporal never closes.
//
// It is heavy, so only cmd/gantry-dev, docker/temporal and e2e import it. Measured on two
// virtual CPUs with Temporal 1.32.1:
//
//   - a binary with nothing else has 218 MB, 154 MB stripped; the web interface
//     is 5 MB of it
//   - ready 0.1 s after Start, 0.4 s after the start of the process
//   - 150 MB resident and a few thousandths of a CPU when idle
//   - Stop takes 20 ms, and 1 s more while a worker polls
//   - start of an execution to its end in 8 ms, 300 new executions a second,
//     in memory and in a file alike
//   - Durable costs a quarter: on a busy machine, 100 new executions a second
//     in place of 135
package temporalserver
