// Package simulator is a Spacelift account in memory: its GraphQL API, its run
// state machine, its policies in real Rego and its signed webhook
// deliveries, with every fault we know of on demand. Tests, the lab and other
// teams' CI use it instead of Spacelift.
//
//	sim := simulator.New(simulator.Options{Account: "acme", Phases: simulator.Instant()})
//	defer sim.Close()
//	srv := httptest.NewServer(sim) // GraphQL at srv.URL + "/graphql"
//	key := sim.AddAPIKey(simulator.APIKey{})
//	sim.AddStack(simulator.Stack{ID: "network", Labels: []string{"gantry:managed"}})
//	run, err := sim.Push("network", simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 2}})
//
// Time comes from a Clock: the real one, a bubble of testing/synctest (give
// Options.HTTPClient an in-memory transport there), or a ManualClock. One lock
// guards the whole account, so each method and each API answer shows one instant.
//
// The GraphQL server is graph-gophers/graphql-go: it serves schema.graphql as it
// is, checks at start-up that every field of it has a resolver, generates no
// code, and words refusals ("Cannot query field …") as Spacelift does.
//
// Save writes a snapshot of the account, and Restore opens an account from one;
// runs, queues and deliveries continue from where they were. Changed signals that
// a new snapshot is due.
//
// Facts about Spacelift are cited where they are used; a choice that its
// documentation and clients leave open is marked "Assumption:". README.md lists
// the limits of the simulation and describes the control API.
package simulator
