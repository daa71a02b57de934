// Package authority knows who asks and what they may do where: tokens, people,
// OpenID Connect, sessions of browsers, and the bindings that give them roles.
//
// It decides nothing about runs, and it answers no HTTP requests.
package authority
