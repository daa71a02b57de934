package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newResourcesCommand(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "resources RUN", Short: "List all resources that a run's plan changes", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(runOrStackNames, true),
		RunE: answering(r, func(ctx context.Context, s *session, args []string) (api.ResourceList, error) {
			name, err := s.named(ctx, args[0], newest)
			if err != nil {
				return api.ResourceList{}, err
			}
			return gantry.Answer[api.ResourceList](s.ListResources(ctx, name.account, name.stack, name.run))
		}, func(s *session, list api.ResourceList) error {
			t := s.List("resources", []output.Column{{Title: "CHANGE", Tone: toneOf}, {Title: "ADDRESS", Wraps: true}})
			for _, resource := range list.Resources {
				t.Row(resource.Change, address(resource))
			}
			if err := t.Flush(); err != nil || list.Complete {
				return err
			}
			_, err := fmt.Fprintln(s.Out, "There are more: Gantry reads no further.")
			return err
		}),
	}
}

// addResources adds the first resources that a plan changes, a line for each kind of
// change, as far as the answer lists them.
func addResources(t *output.Rows, p *api.PlannedResources) {
	if p == nil {
		return
	}
	if p.Unread != nil {
		t.Fact("Resources", "unknown: "+*p.Unread)
		return
	}
	var kinds []string
	of := map[string][]string{}
	for _, r := range p.First {
		if of[r.Change] == nil {
			kinds = append(kinds, r.Change)
		}
		of[r.Change] = append(of[r.Change], address(r))
	}
	for _, kind := range kinds {
		t.Fact("To "+kind, strings.Join(of[kind], ", "))
	}
	if more := p.Total - len(p.First); more > 0 {
		t.Fact("And", fmt.Sprintf("%d more: gantry runs resources lists them", more))
	}
}

// address returns the address of a resource, with the one before if it moves.
func address(r api.Resource) string {
	if r.PreviousAddress == nil {
		return r.Address
	}
	return r.Address + " (was " + *r.PreviousAddress + ")"
}
