package spaceliftapi

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

// Policy reads a policy. It returns ErrNotFound when the policy doesn't exist.
func (c *Client) Policy(ctx context.Context, id string) (spacelift.Policy, error) {
	data, err := operations.Policy(ctx, c.api, id)
	if err == nil && data.Policy == nil {
		err = spacelift.ErrNotFound
	}
	if err != nil {
		return spacelift.Policy{}, fmt.Errorf("read policy %s: %w", id, err)
	}
	return fromPolicyDetails(*data.Policy), nil
}

// Policies lists the policies of some types that the key can see.
func (c *Client) Policies(ctx context.Context, ofTypes ...string) (spacelift.Listing[spacelift.Policy], error) {
	// Spacelift doesn't document which fields can narrow the search.
	found, err := searchPages(maxPages, nil,
		func(p spacelift.Policy) bool { return slices.Contains(ofTypes, p.Type) },
		func(input operations.SearchInput) ([]spacelift.Policy, operations.PageInfo, error) {
			data, err := operations.SearchPolicies(ctx, c.api, input)
			if err != nil {
				return nil, operations.PageInfo{}, err
			}
			var policies []spacelift.Policy
			for _, edge := range data.SearchPolicies.Edges {
				policies = append(policies, fromPolicyDetails(edge.Node))
			}
			return policies, data.SearchPolicies.PageInfo, nil
		})
	if err != nil {
		return found, fmt.Errorf("list policies: %w", err)
	}
	return found, nil
}

// CreatePolicy creates a policy. After ErrAmbiguous, search for it by name.
func (c *Client) CreatePolicy(ctx context.Context, in spacelift.PolicyInput) (spacelift.Policy, error) {
	data, err := operations.PolicyCreate(ctx, c.api, operations.PolicyCreateInput{
		Name:        in.Name,
		Body:        in.Body,
		Type:        in.Type,
		Labels:      in.Labels,
		Space:       orNull(in.Space),
		Description: orNull(in.Description),
		EngineType:  orNull(in.Engine),
	})
	if err == nil && data.PolicyCreatev2 == nil {
		err = errNoObject
	}
	if err != nil {
		return spacelift.Policy{}, fmt.Errorf("create policy %q: %w", in.Name, err)
	}
	return fromPolicyDetails(*data.PolicyCreatev2), nil
}

// UpdatePolicy replaces a policy's settings. It may be repeated after
// ErrAmbiguous.
func (c *Client) UpdatePolicy(ctx context.Context, id string, in spacelift.PolicyInput) (spacelift.Policy, error) {
	data, err := operations.PolicyUpdate(ctx, c.api, id, operations.PolicyUpdateInput{
		Name:        in.Name,
		Body:        in.Body,
		Labels:      in.Labels,
		Space:       orNull(in.Space),
		Description: orNull(in.Description),
		EngineType:  orNull(in.Engine),
	})
	if err == nil && data.PolicyUpdatev2 == nil {
		err = errNoObject
	}
	if err != nil {
		return spacelift.Policy{}, fmt.Errorf("update policy %s: %w", id, err)
	}
	return fromPolicyDetails(*data.PolicyUpdatev2), nil
}

// DeletePolicy deletes a policy and its attachments. After ErrAmbiguous, search for it
// by name.
func (c *Client) DeletePolicy(ctx context.Context, id string) error {
	data, err := operations.PolicyDelete(ctx, c.api, id)
	if err == nil && data.PolicyDelete == nil {
		err = errNoObject
	}
	if err != nil {
		return fmt.Errorf("delete policy %s: %w", id, err)
	}
	return nil
}

// SimulatePolicy evaluates a policy's body on an input document without
// deploying it. Input and answer are JSON documents. It changes nothing, and the
// client retries it like a read.
func (c *Client) SimulatePolicy(ctx context.Context, ofType, body, input string) (string, error) {
	data, err := operations.PolicySimulate(ctx, c.api, operations.PolicySimulateInput{Type: ofType, Body: body, Data: input})
	if err == nil && data.PolicySimulatev2 == nil {
		err = errors.New("spacelift sent an empty answer")
	}
	if err != nil {
		return "", fmt.Errorf("simulate %s policy: %w", ofType, err)
	}
	return *data.PolicySimulatev2, nil
}

func fromPolicyDetails(p operations.PolicyDetails) spacelift.Policy {
	return spacelift.Policy{
		ID:          p.Id,
		Name:        p.Name,
		Type:        p.Type,
		Engine:      p.EngineType,
		Body:        p.Body,
		Description: orZero(p.Description),
		Labels:      p.Labels,
		Space:       p.Space,
	}
}
