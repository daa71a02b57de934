// Package workflows holds Gantry's durable logic: one execution of ManageRun
// follows each Spacelift run from its first notification to its end, acts where
// the stack's policy wants it, and can always say why. One of Chain releases
// the stacks that follow the run's.
//
// Two kinds of code live here. The pure core turns events into facts (fold.go,
// record.go, facts.go) and facts into the next step (decide.go and its
// neighbours), and the same for chains (chain.go, decide_chain.go); with the
// values in status.go and messages.go it imports nothing of Temporal and is
// tested as plain functions. The workflows around it only wait, carry out and
// record.
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
// rename. Events and labels come from outside: they may be wrong,
// repeated, out of order or forged, and whatever they say makes Gantry look at
// the run, never act on their word alone.
package workflows
