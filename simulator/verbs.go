package simulator

import "github.com/gantryhq/gantry/spacelift"

// The verbs in this file are what a person does in Spacelift's own interface;
// by is that person's login. Clients use GraphQL.

// Confirm lets an UNCONFIRMED run apply.
func (s *Simulator) Confirm(by string, stack spacelift.StackID, run spacelift.RunID, note string) error {
	return s.act(func() error { _, err := s.confirm(person(by), stack, run, note, ""); return err })
}

// Discard rejects the plan of an UNCONFIRMED run.
func (s *Simulator) Discard(by string, stack spacelift.StackID, run spacelift.RunID, note string) error {
	return s.act(func() error { _, err := s.discard(person(by), stack, run, note); return err })
}

// Cancel removes a run from the queue.
func (s *Simulator) Cancel(by string, stack spacelift.StackID, run spacelift.RunID, note string) error {
	return s.act(func() error { _, err := s.cancelRun(person(by), stack, run, note); return err })
}

// Stop asks a run in INITIALIZING or PLANNING to stop.
func (s *Simulator) Stop(by string, stack spacelift.StackID, run spacelift.RunID, note string) error {
	return s.act(func() error { _, err := s.stop(person(by), stack, run, note); return err })
}

// Kill ends a run in progress.
func (s *Simulator) Kill(by string, stack spacelift.StackID, run spacelift.RunID, note string) error {
	return s.act(func() error { _, err := s.kill(person(by), stack, run, note); return err })
}

// Replan asks for a targeted replan of an UNCONFIRMED run. Script what it finds
// with ChangePlan.
func (s *Simulator) Replan(by string, stack spacelift.StackID, run spacelift.RunID) error {
	return s.act(func() error { _, err := s.replan(person(by), stack, run); return err })
}

// Review approves or rejects a run: decision is APPROVE or REJECT.
func (s *Simulator) Review(by string, stack spacelift.StackID, run spacelift.RunID, decision, note string) error {
	return s.act(func() error { _, err := s.review(person(by), stack, run, decision, note); return err })
}

// Comment adds a comment to a run.
func (s *Simulator) Comment(by string, stack spacelift.StackID, run spacelift.RunID, body string) error {
	return s.act(func() error { _, err := s.comment(person(by), stack, run, body); return err })
}

// Retry starts an ended run again and returns the new one.
func (s *Simulator) Retry(by string, stack spacelift.StackID, id spacelift.RunID) (spacelift.RunID, error) {
	return s.made(func() (*run, error) { return s.retry(person(by), stack, id) })
}

// Promote makes a tracked run from a proposed one and returns it.
func (s *Simulator) Promote(by string, stack spacelift.StackID, id spacelift.RunID) (spacelift.RunID, error) {
	return s.made(func() (*run, error) { return s.promote(person(by), stack, id) })
}

// Lock locks a stack for one person.
func (s *Simulator) Lock(by string, stack spacelift.StackID, note string) error {
	return s.act(func() error { return s.lock(person(by), stack, note) })
}

// Unlock unlocks a stack, even one that another person locked: people here are admins.
func (s *Simulator) Unlock(by string, stack spacelift.StackID) error {
	return s.act(func() error { return s.unlock(person(by), stack) })
}

// Disable keeps a stack from creating runs.
func (s *Simulator) Disable(id spacelift.StackID) error {
	return s.change(id, func(st *stack) { st.Disabled = true })
}

// Enable is the inverse of Disable.
func (s *Simulator) Enable(id spacelift.StackID) error {
	return s.change(id, func(st *stack) { st.Disabled = false })
}

// act calls f under the lock.
func (s *Simulator) act(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

// made calls f under the lock and returns the id of the run that f made, if any.
func (s *Simulator) made(f func() (*run, error)) (spacelift.RunID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := f()
	if err != nil || r == nil {
		return "", err
	}
	return r.ID, nil
}
