// Package spaceliftapi is the client of Spacelift's GraphQL API. It signs in with
// an API key, retries reads for a few seconds, and sends each mutation once.
//
// Its methods take and return the types of package spacelift, and return its
// errors, such as spacelift.ErrNotFound. That package doesn't need the network, so
// decide can import it. Neither package imports another one of Gantry.
//
// The operations are in operations.graphql. `make generate` writes
// internal/operations from them and from spacelift/schema.graphql.
package spaceliftapi
