package deploy

import (
	_ "embed"
	"encoding/json"
	"strings"
)

//go:embed terraform/gantry-approval.rego
var approvalPolicy string

// PlanPolicy is the PLAN policy that makes autodeploying stacks wait for Gantry.
//
//go:embed terraform/gantry-plan.rego
var PlanPolicy string

// ApprovalPolicy returns the APPROVAL policy by which only the reviews of these API
// keys approve a plan. Keys are named as Spacelift names them, "api::<key id>".
func ApprovalPolicy(keys ...string) string {
	list, err := json.Marshal(keys)
	if err != nil {
		panic(err) // strings are always JSON
	}
	return strings.Replace(approvalPolicy, "${keys}", string(list), 1)
}

// Marker is the line by which Gantry recognizes a policy that it wrote.
const Marker = "# Gantry's policy: gantry setup and Gantry's Terraform module overwrite it."
