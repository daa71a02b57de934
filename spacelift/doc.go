// Package spacelift is Spacelift's vocabulary as plain Go: ids, states, run types,
// labels, errors and the webhook signature. Package spaceliftapi has the client.
//
// It imports no other package of Gantry and not the network, so that every
// package can use it, decide included.
//
// Facts about Spacelift come from its public documentation
// (https://docs.spacelift.io) and from its official clients, spacectl and the
// Terraform provider. Where the code depends on something that none of them
// states, a comment marks it "Assumption:".
package spacelift
