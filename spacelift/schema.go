package spacelift

import _ "embed"

// Schema is our subset of Spacelift's GraphQL schema. The client is generated
// from it, and the simulator serves it.
//
//go:embed schema.graphql
var Schema string
