package simulator

import (
	"fmt"

	"github.com/gantryhq/gantry/spacelift"
)

// Change is a resource of a plan. Action is added, changed or deleted, or one
// of the replacements Spacelift's notification policy input knows.
type Change struct {
	Address         string         `json:"address"`
	PreviousAddress string         `json:"previousAddress,omitempty"` // of a resource that moves; Address when empty
	Type            string         `json:"type"`
	Name            string         `json:"name"`
	Action          string         `json:"action"`
	Values          map[string]any `json:"values,omitempty"`
}

// samples are resources that plans without a script of their own change.
var samples = map[string][]Change{
	"added": {
		{Address: "aws_s3_bucket.artifacts", Type: "aws_s3_bucket", Name: "artifacts"},
		{Address: "aws_iam_role.deploy", Type: "aws_iam_role", Name: "deploy"},
		{Address: "module.network.aws_subnet.private", Type: "aws_subnet", Name: "private"},
		{Address: "aws_cloudwatch_log_group.api", Type: "aws_cloudwatch_log_group", Name: "api"},
		{Address: "module.app.aws_ecs_service.api", Type: "aws_ecs_service", Name: "api"},
	},
	"changed": {
		{Address: "module.app.aws_ecs_task_definition.api", Type: "aws_ecs_task_definition", Name: "api"},
		{Address: "aws_security_group.api", Type: "aws_security_group", Name: "api"},
		{Address: "aws_lb_listener.https", Type: "aws_lb_listener", Name: "https"},
		{Address: "module.network.aws_route_table.private", Type: "aws_route_table", Name: "private"},
	},
	"deleted": {
		{Address: "aws_db_instance.main", Type: "aws_db_instance", Name: "main"},
		{Address: "module.network.aws_route.legacy", Type: "aws_route", Name: "legacy"},
		{Address: "aws_iam_user.ci", Type: "aws_iam_user", Name: "ci"},
		{Address: "aws_s3_bucket.old_logs", Type: "aws_s3_bucket", Name: "old_logs"},
	},
}

// changes returns the plan's resources, made up from its counts if need be.
func (p Plan) changes() []Change {
	if p.Changes != nil {
		return p.Changes
	}
	var made []Change
	for _, kind := range []struct {
		action string
		n      int
	}{{"added", p.Delta.Added}, {"changed", p.Delta.Changed}, {"deleted", p.Delta.Deleted}} {
		of := samples[kind.action]
		for i := range kind.n {
			c := of[i%len(of)]
			if c.Action = kind.action; i >= len(of) {
				c.Address = fmt.Sprintf("%s_%d", c.Address, i/len(of)+1)
				c.Name = fmt.Sprintf("%s_%d", c.Name, i/len(of)+1)
			}
			made = append(made, c)
		}
	}
	return made
}

// Counts counts the plan's changes.
//
// Assumption: a replacement counts as an add and a delete, as Terraform counts it;
// what is imported, forgotten or moved counts as nothing.
func (p Plan) Counts() spacelift.Delta {
	d := p.Delta
	if d.Added+d.Changed+d.Deleted > 0 {
		return d
	}
	for _, c := range p.Changes {
		switch spacelift.ParseChange(c.Action) {
		case spacelift.ChangeAdd:
			d.Added++
		case spacelift.ChangeUpdate:
			d.Changed++
		case spacelift.ChangeDelete:
			d.Deleted++
		case spacelift.ChangeReplace:
			d.Added, d.Deleted = d.Added+1, d.Deleted+1
		}
	}
	return d
}

func (p Plan) hasChanges() bool {
	d := p.Counts()
	return d.Added+d.Changed+d.Deleted > 0
}
