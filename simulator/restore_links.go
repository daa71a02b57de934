package simulator

import (
	"errors"
	"fmt"

	"github.com/gantryhq/gantry/spacelift"
)

func (r *restorer) links() error {
	s := r.s
	find := func(ids []spacelift.RunID) ([]*run, error) {
		var found []*run
		for _, id := range ids {
			if s.runs[id] == nil {
				return nil, fmt.Errorf("no run %s", id)
			}
			found = append(found, s.runs[id])
		}
		return found, nil
	}
	for _, st := range r.shot.Stacks {
		for _, saved := range st.Runs {
			made := s.runs[saved.ID]
			var err, err2 error
			made.upstream, err = find(saved.Upstream)
			made.downstream, err2 = find(saved.Downstream)
			if err := errors.Join(err, err2); err != nil {
				return fmt.Errorf("neighbours of run %s: %w", saved.ID, err)
			}
		}
	}
	return nil
}

func (r *restorer) edges() error {
	for _, d := range pointers(r.shot.Edges) {
		for _, id := range []spacelift.StackID{d.Stack, d.On} {
			if r.s.stacks[id] == nil {
				return fmt.Errorf("dependency %s: no stack %s", d.ID, id)
			}
		}
		if r.s.path(d.On, d.Stack) != nil {
			return fmt.Errorf("dependency %s closes a circle", d.ID)
		}
		r.s.dependencies = append(r.s.dependencies, d)
	}
	return nil
}

// named returns an error for an object without an id of its own or a space.
func (r *restorer) named(kind, id string, taken bool, space string) error {
	switch {
	case id == "" || taken:
		return fmt.Errorf("%s %q is there twice", kind, id)
	case r.s.spaces[space] == nil:
		return fmt.Errorf("%s %s: no space %s", kind, id, space)
	}
	return nil
}

func (r *restorer) webhooks() error {
	for i, saved := range r.shot.Hooks {
		if err := r.named("named webhook", saved.ID, exists(r.s.findWebhook(saved.ID)), saved.Space); err != nil {
			return err
		}
		made := newNamedWebhook(saved.webhook(), saved.CreatedAt)
		made.failures = saved.Failures
		r.s.webhooks = append(r.s.webhooks, made)
		r.hooks[namedHookPlace(i)] = &made.health
	}
	return nil
}

func (r *restorer) policies() (err error) {
	s := r.s
	for _, p := range pointers(r.shot.Rules) {
		if err := r.named("policy", p.ID, exists(s.findPolicy(p.ID)), p.Space); err != nil {
			return err
		}
		if p.query, err = compile(s.ctx, p.Engine, p.Body); err != nil {
			return fmt.Errorf("policy %s: %w", p.ID, err)
		}
		s.policies = append(s.policies, p)
	}
	for _, a := range r.shot.Bonds {
		if !exists(s.findPolicy(a.Policy)) || s.stacks[a.Stack] == nil {
			return fmt.Errorf("attachment %s: no policy %s or no stack %s", a.ID, a.Policy, a.Stack)
		}
	}
	s.attachments = pointers(r.shot.Bonds)
	return nil
}

func (r *restorer) contexts() error {
	s := r.s
	for _, c := range pointers(r.shot.Bundles) {
		if err := r.named("context", c.ID, exists(s.findContext(c.ID)), c.Space); err != nil {
			return err
		}
		s.contexts = append(s.contexts, c)
	}
	for _, saved := range r.shot.Shares {
		c, err := s.findContext(saved.Context)
		if err != nil || s.stacks[saved.Stack] == nil {
			return fmt.Errorf("context attachment %s: no context %s or no stack %s", saved.ID, saved.Context, saved.Stack)
		}
		s.contextBonds = append(s.contextBonds, &contextAttachment{ID: saved.ID, context: c, Stack: saved.Stack, Priority: saved.Priority})
	}
	return nil
}

// sent restores the delivery log.
func (r *restorer) sent() error {
	for _, saved := range r.shot.Log {
		if saved.Key == "" || r.deliveries[saved.Key] != nil {
			return fmt.Errorf("delivery %q is there twice", saved.Key)
		}
		d := &delivery{Delivery: saved.Delivery, id: saved.Key, notBefore: saved.NotBefore}
		d.target.retry, d.target.query = saved.Retry, saved.Query
		switch {
		case r.hooks[saved.To] != nil:
			d.target.health = r.hooks[saved.To]
		case saved.To == "":
			d.target.health = goneWebhook(saved.Webhook)
		default:
			return fmt.Errorf("delivery %s: no webhook at %s", saved.Key, saved.To)
		}
		r.deliveries[saved.Key] = d
		r.s.deliveries = append(r.s.deliveries, d)
	}
	return nil
}

// goneWebhook returns the health of a deleted webhook, to which nothing is sent.
func goneWebhook(key string) *health {
	return &health{key: key, disabled: func() *bool { return new(true) }}
}

func (r *restorer) lanes() error {
	queued := map[string]bool{}
	find := func(keys []string) ([]*delivery, error) {
		var found []*delivery
		for _, key := range keys {
			if r.deliveries[key] == nil || queued[key] {
				return nil, fmt.Errorf("delivery %s is not there, or queued twice", key)
			}
			queued[key] = true
			found = append(found, r.deliveries[key])
		}
		return found, nil
	}
	for _, saved := range r.shot.Lanes {
		queue, err := find(saved.Queue)
		if err != nil {
			return err
		}
		held, err := find(saved.Held)
		if err != nil {
			return err
		}
		r.s.lanes[saved.laneKey] = &lane{queue: queue, held: held}
	}
	return nil
}

// timers requires a timer for every run that a machine moves and for every slot:
// nothing else would ever move them.
func (r *restorer) timers() error {
	s := r.s
	frees := map[*run]bool{}
	for _, saved := range pointers(r.shot.Timers) {
		s.timerCount++
		t := &saved.timer
		t.run, t.seq = s.runs[saved.Run], s.timerCount
		l := s.lanes[t.Lane]
		switch {
		case t.What == laneGoesOn && l != nil:
			l.timer = t
		case t.What == phaseEnds && t.run != nil && t.Version == len(t.run.History):
			t.run.timer = t
		case t.What == slotFrees && t.run != nil:
			frees[t.run] = true
		case t.What == workerStops && t.run != nil:
		default:
			return fmt.Errorf("nothing to do when %q is due for run %q", t.What, saved.Run)
		}
		s.timers[t] = struct{}{}
	}
	for _, run := range s.runs {
		idle := run.terminal() || waitsForPeople(run.state()) || run.state() == queued && run.Settled
		if idle == (run.timer != nil) {
			return fmt.Errorf("run %s is %s and its timer doesn't fit that", run.ID, run.state())
		}
		if run.stack.blocker == run && run.terminal() && !frees[run] {
			return fmt.Errorf("run %s has ended and holds stack %s for ever", run.ID, run.stack.ID)
		}
	}
	return nil
}
