package simulator

import "github.com/gantryhq/gantry/spacelift"

// Observer receives what happens in an account, in the order in which it happens.
// Its methods are called under the account's lock: they return quickly and call
// no method of the Simulator.
type Observer interface {
	// RunEntered receives a run in the state that it has entered.
	RunEntered(r Run)
	// RunReviewed receives a review that was stored.
	RunReviewed(run spacelift.RunRef, review Review)
	// StackChanged receives a stack after its labels, settings, lock or existence
	// changed.
	StackChanged(s StackStatus)
	// RequestAnswered receives a request and the data of its answer, whether or not
	// the client received it.
	RequestAnswered(r Request, data []byte)
}

// stackChanged reports a stack to the observer, under the lock.
func (s *Simulator) stackChanged(st *stack) {
	if s.opts.Observer != nil {
		s.opts.Observer.StackChanged(st.status())
	}
}
