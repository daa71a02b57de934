package simulator

import (
	"errors"
	"fmt"

	"github.com/gantryhq/gantry/spacelift"
)

// This file restores what points at something else.

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
	for _, saved := range r.shot.Edges {
		for _, id := range []spacelift.StackID{saved.Stack, saved.On} {
			if r.s.stacks[id] == nil {
				return fmt.Errorf("dependency %s: no stack %s", saved.ID, id)
			}
		}
		if r.s.path(saved.On, saved.Stack) != nil {
			return fmt.Errorf("dependency %s closes a circle", saved.ID)
		}
		d := &dependency{id: saved.ID, stack: saved.Stack, on: saved.On, triggerAlways: saved.TriggerAlways}
		for _, ref := range saved.References {
			d.references = append(d.references, &ref)
		}
		r.s.dependencies = append(r.s.dependencies, d)
	}
	return nil
}

func (r *restorer) webhooks() error {
	for i, saved := range r.shot.Hooks {
		w := saved.NamedWebhook
		w.Secret, w.Headers = saved.Secret, saved.Headers
		switch {
		case w.ID == "" || r.s.findWebhook(w.ID) != nil:
			return fmt.Errorf("named webhook %q is there twice", w.ID)
		case r.s.spaces[w.Space] == nil:
			return fmt.Errorf("named webhook %s: no space %s", w.ID, w.Space)
		}
		made := newNamedWebhook(w, saved.CreatedAt)
		made.failures = saved.Failures
		r.s.webhooks = append(r.s.webhooks, made)
		r.hooks[namedHookPlace(i)] = &made.health
	}
	return nil
}

func (r *restorer) policies() error {
	s := r.s
	for _, saved := range r.shot.Rules {
		switch {
		case saved.ID == "" || s.findPolicy(saved.ID) != nil:
			return fmt.Errorf("policy %q is there twice", saved.ID)
		case s.spaces[saved.Space] == nil:
			return fmt.Errorf("policy %s: no space %s", saved.ID, saved.Space)
		}
		query, err := compile(s.ctx, saved.Engine, saved.Body)
		if err != nil {
			return fmt.Errorf("policy %s: %w", saved.ID, err)
		}
		p := &policy{Policy: saved.Policy, query: query, createdAt: saved.CreatedAt, updatedAt: saved.UpdatedAt}
		for _, sample := range saved.Samples {
			p.samples = append(p.samples, policySample{
				key: sample.Key, outcome: sample.Outcome, input: sample.Input, body: sample.Body, at: sample.At,
			})
		}
		s.policies = append(s.policies, p)
	}
	for _, saved := range r.shot.Bonds {
		p := s.findPolicy(saved.Policy)
		if p == nil || s.stacks[saved.Stack] == nil {
			return fmt.Errorf("attachment %s: no policy %s or no stack %s", saved.ID, saved.Policy, saved.Stack)
		}
		s.attachments = append(s.attachments, &attachment{id: saved.ID, policy: p, stack: saved.Stack})
	}
	return nil
}

func (r *restorer) contexts() error {
	s := r.s
	for _, saved := range r.shot.Bundles {
		c := &bundle{
			Context: saved.Context, config: restoredConfigs(saved.Elements), createdAt: saved.CreatedAt, updatedAt: saved.UpdatedAt,
		}
		switch {
		case c.ID == "" || s.findContext(c.ID) != nil:
			return fmt.Errorf("context %q is there twice", c.ID)
		case s.spaces[c.Space] == nil:
			return fmt.Errorf("context %s: no space %s", c.ID, c.Space)
		}
		s.contexts = append(s.contexts, c)
	}
	for _, saved := range r.shot.Shares {
		c := s.findContext(saved.Context)
		if c == nil || s.stacks[saved.Stack] == nil {
			return fmt.Errorf("context attachment %s: no context %s or no stack %s", saved.ID, saved.Context, saved.Stack)
		}
		s.contextBonds = append(s.contextBonds, &contextAttachment{id: saved.ID, context: c, stack: saved.Stack, priority: saved.Priority})
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

// goneWebhook is one that was deleted before its turn came: nothing is sent.
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
		r.s.lanes[saved.key()] = &lane{queue: queue, held: held}
	}
	return nil
}

func (k savedLaneKey) key() laneKey { return laneKey{webhook: k.Webhook, run: k.Run, own: k.Own} }

// timers wants something to be due for every run that a machine moves, and for
// every slot: nothing else would ever move them on.
func (r *restorer) timers() error {
	s := r.s
	frees := map[*run]bool{}
	for _, saved := range r.shot.Timers {
		s.timerCount++
		t := &timer{
			what: saved.What, at: saved.At, run: s.runs[saved.Run], version: saved.Version, by: saved.By, note: saved.Note,
			lane: saved.Lane.key(), seq: s.timerCount,
		}
		l := s.lanes[t.lane]
		switch {
		case t.what == laneGoesOn && l != nil:
			l.timer = t
		case t.what == phaseEnds && t.run != nil && t.version == len(t.run.history):
			t.run.timer = t
		case t.what == slotFrees && t.run != nil:
			frees[t.run] = true
		case t.what == workerStops && t.run != nil:
		default:
			return fmt.Errorf("nothing to do when %q is due for run %q", t.what, saved.Run)
		}
		s.timers[t] = struct{}{}
	}
	for _, run := range s.runs {
		idle := run.terminal() || waitsForPeople(run.state()) || run.state() == queued && run.settled
		if idle == (run.timer != nil) {
			return fmt.Errorf("run %s is %s and its timer doesn't fit that", run.id, run.state())
		}
		if run.stack.blocker == run && run.terminal() && !frees[run] {
			return fmt.Errorf("run %s has ended and holds stack %s for ever", run.id, run.stack.ID)
		}
	}
	return nil
}
