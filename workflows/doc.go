// Package workflows holds Gantry's durable logic. One execution of ManageRun
// follows each Spacelift run from its first notification to its end, acts where
// the stack's policy wants it, and can always explain why. One of Chain releases
// the stacks that follow the run's. RetryRun retries a failed run, Freezes keeps an
// account's freezes, and Reconcile repairs what notifications missed.
//
// The workflows wait, call, record and answer. They decide nothing: the packages
// below decide do, as plain functions of what is known and the time.
//
// Temporal replays this code against histories that other versions of it wrote
// (https://docs.temporal.io/workflow-definition#deterministic-constraints). So
// nothing here may
//
//   - read the clock, sleep, draw random numbers, start goroutines or use
//     channels and selects of Go: the workflow package has its own;
//   - range over a map where the order shows;
//   - read the environment, files or package variables that change;
//   - log other than through workflow.GetLogger;
//   - call anything outside other than as an activity.
//
// A change in the order or kind of commands needs a newly recorded history in
// testdata/histories in the same commit, and workflow.GetVersion once a version
// has been released (docs/adr/0010-versions.md). From then on, names of workflows,
// signals, queries, search attributes and JSON fields are contracts: add, never
// rename. Events and labels come from outside: they may be wrong, repeated, out of
// order or forged. They make Gantry read the run; it never acts on them alone.
package workflows
