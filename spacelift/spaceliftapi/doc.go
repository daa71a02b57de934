// Package spaceliftapi is the client of Spacelift's GraphQL API.
//
// Its types, states and errors are those of package spacelift, which doesn't
// need the network. Both import no other package of Gantry.
package spaceliftapi
