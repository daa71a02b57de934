// Package notify is the vocabulary of notifications: messages, their ids and
// the errors of sending one. Package channels sends them.
//
// It imports no other package of Gantry and not the network, so that decide can
// use it.
package notify
