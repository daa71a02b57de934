// Package spacelift speaks Spacelift: the vocabulary of ids, states, run types
// and labels, the GraphQL client, and the webhook signature.
//
// It knows nothing of Temporal or of Gantry's HTTP surface and imports nothing
// of ours, so that every other room can use its words.
//
// Facts about Spacelift come from its public documentation
// (https://docs.spacelift.io) and from its official clients, spacectl and the
// Terraform provider. What none of them states is marked "Assumption:" where
// the code depends on it.
package spacelift
