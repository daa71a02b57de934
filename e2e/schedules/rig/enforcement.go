package rig

import (
	"errors"
	"strings"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// attach has policies attach themselves to managed stacks.
var attach = []string{"autoattach:" + spacelift.LabelManaged}

// policyIn returns the id of a policy of a space.
func policyIn(space, name string) string { return strings.ReplaceAll(name+"-"+space, "/", "-") }

// enforce adds the two policies that make Gantry's decisions binding to a space.
func enforce(s *Spacelift, space string) error {
	return errors.Join(
		s.AddPolicy(simulator.Policy{
			ID: policyIn(space, spacelift.EnforcingApproval), Name: spacelift.EnforcingApproval, Type: simulator.PolicyApproval, Space: space,
			Engine: simulator.RegoV1, Body: deploy.ApprovalPolicy(Actor), Labels: attach,
		}),
		s.AddPolicy(simulator.Policy{
			ID: policyIn(space, spacelift.EnforcingPlan), Name: spacelift.EnforcingPlan, Type: simulator.PolicyPlan, Space: space,
			Engine: simulator.RegoV1, Body: deploy.PlanPolicy, Labels: attach,
		}),
	)
}

// Glaze adds a space in which somebody may break the glass, with Gantry's policies. One
// that is there already stays as it is.
func (s *Spacelift) Glaze(space string) error {
	s.mu.Lock()
	_, known := s.glass[space]
	s.glass[space] = true
	s.mu.Unlock()
	if known {
		return nil
	}
	if err := errors.Join(s.AddSpace(simulator.Space{ID: space, InheritEntities: true}), enforce(s, space)); err != nil {
		return err
	}
	s.history.Add(history.Record{Glass: &history.Glass{Space: space, Whole: true}})
	return nil
}

// SetGlass takes the label off a space's approval policy by which it attaches itself to
// managed stacks, or puts it back: whole.
func (s *Spacelift) SetGlass(by, space string, whole bool) error {
	labels := attach
	if !whole {
		labels = nil
	}
	began := s.history.Now()
	if err := s.LabelPolicy(policyIn(space, spacelift.EnforcingApproval), labels...); err != nil {
		return err
	}
	s.mu.Lock()
	s.glass[space] = whole
	s.mu.Unlock()
	s.history.AddSince(began, history.Record{Glass: &history.Glass{Space: space, Whole: whole, By: by}})
	return nil
}

// Glass reports whether the glass of a space is whole; false for a space without any.
func (s *Spacelift) Glass(space string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.glass[space]
}
