// Package spacelift is Spacelift's API as plain Go: the vocabulary of ids,
// states, run types and labels, the GraphQL client, and the webhook signature.
//
// It doesn't know Temporal or Gantry's HTTP surface, and imports no other
// package of Gantry, so that every package can use its vocabulary.
//
// Facts about Spacelift come from its public documentation
// (https://docs.spacelift.io) and from its official clients, spacectl and the
// Terraform provider. Where the code depends on something that none of them
// states, a comment marks it "Assumption:".
package spacelift
