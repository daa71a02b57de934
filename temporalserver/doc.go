// Package temporalserver runs a Temporal server inside this process: all four
// services, their database and, optionally, the web interface. It needs no
// installation and no network beyond loopback. The lab, the end-to-end tests and
// docker/temporal, a small production server, use it. It has no authentication.
//
// The database is SQLite in pure Go, in memory or in one file, or an external
// PostgreSQL. A file survives kill -9 and serves one server at a time. Temporal's
// SQLite store has no migrations, so a file with another version of the schema is
// refused. The tables of PostgreSQL are migrated.
//
// A process can run any number of servers, and can stop and start each of them,
// even on the same port. A stopped server leaves about thirty idle goroutines of
// gRPC connections that Temporal never closes.
//
// It is heavy, so only cmd/gantry-dev, docker/temporal and e2e import it. Measured
// on two virtual CPUs with Temporal 1.32.1:
//
//   - a binary with nothing else has 218 MB, 154 MB stripped; 5 MB of it are the
//     web interface
//   - ready 0.1 s after Start, 0.4 s after the start of the process
//   - 150 MB resident and a few thousandths of a CPU when idle
//   - Stop takes 20 ms, and 1 s more while a worker polls
//   - an execution from start to end in 8 ms, and 300 new executions a second,
//     in memory or in a file
//   - Durable costs a quarter: on a busy machine, 100 new executions a second
//     instead of 135
package temporalserver
