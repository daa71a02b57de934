package deploy

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gantryhq/gantry/spacelift"
)

// Simulator evaluates policies without deploying them; *spacelift.Client is one.
type Simulator interface {
	Account() spacelift.Account
	SimulatePolicy(ctx context.Context, ofType, body, input string) (string, error)
}

// Routes asks Spacelift whether a notification policy with this body would route
// a run of a stack with these labels to the webhook.
func Routes(ctx context.Context, api Simulator, body string, to spacelift.NamedWebhook, stackLabels ...string) (bool, error) {
	input, err := json.Marshal(sampleInput(api.Account(), to, stackLabels))
	if err != nil {
		return false, fmt.Errorf("write policy input: %w", err)
	}
	said, err := api.SimulatePolicy(ctx, spacelift.PolicyTypeNotification, body, string(input))
	if err != nil {
		return false, err
	}
	var document any
	if err := json.Unmarshal([]byte(said), &document); err != nil {
		return false, fmt.Errorf("read what the policy said: %w", err)
	}
	return names(document, to.ID), nil
}

// sampleInput is the part of a notification policy's input that every policy
// which routes runs by label can be expected to read.
// https://docs.spacelift.io/concepts/policy/notification-policy
func sampleInput(account spacelift.Account, to spacelift.NamedWebhook, stackLabels []string) any {
	type object = map[string]any
	return object{
		"account":           object{"name": account},
		"webhook_endpoints": []object{{"id": to.ID, "labels": append([]string{}, to.Labels...)}},
		"run_updated": object{
			"state": spacelift.RunStateUnconfirmed, "username": "", "note": "",
			"run": object{
				"id": "01GANTRYSAMPLERUN000000000", "type": spacelift.RunTypeTracked, "state": spacelift.RunStateUnconfirmed,
				"branch": "main", "changes": []object{}, "flags": []string{}, "states_history": []object{{"new_state": spacelift.RunStateUnconfirmed}},
			},
			"stack": object{
				"id": "gantry-sample", "name": "gantry sample", "labels": append([]string{}, stackLabels...),
				"space": object{"id": to.Space, "name": to.Space, "labels": []string{}},
			},
			"timing": []object{}, "urls": object{"run": ""},
		},
	}
}

// names looks for a webhook's id wherever in the answer a rule may stand.
//
// Assumption: the answer's shape is not documented. What every webhook rule must
// have, its endpoint_id, is found in any.
func names(v any, id string) bool {
	switch v := v.(type) {
	case map[string]any:
		if v["endpoint_id"] == id {
			return true
		}
		for _, inner := range v {
			if names(inner, id) {
				return true
			}
		}
	case []any:
		for _, inner := range v {
			if names(inner, id) {
				return true
			}
		}
	case string: // a document within a document
		var inner any
		if len(v) > 0 && (v[0] == '{' || v[0] == '[') && json.Unmarshal([]byte(v), &inner) == nil {
			return names(inner, id)
		}
	}
	return false
}
