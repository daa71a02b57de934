package spacelift

import _ "embed"

// Schema is our subset of Spacelift's GraphQL schema, which the client is
// generated from and the simulator serves.
//
//go:embed schema.graphql
var Schema string
