package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

// versions are the versions that gantry version prints.
type versions struct {
	Client string       `json:"client"`
	Server *api.Version `json:"server,omitempty"`
}

func newVersionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the versions of this program and of Gantry", Args: cobra.NoArgs,
		Long: "Prints the version of this program and, if it answers, those of Gantry and its replicas.",
	}
	r := remoteFlags(cmd)
	alone := cmd.Flags().Bool("client", false, "print the version of this program alone")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *alone {
			printer, err := r.output.Printer(cmd, now())
			if err != nil {
				return err
			}
			return answered(&session{Printer: printer}, versions{Client: version}, printVersions)
		}
		s, err := r.connect(cmd)
		if err != nil {
			fmt.Fprintf(cmd.OutOrStdout(), "Client:  %s\n", version)
			return err
		}
		v := versions{Client: version}
		server, err := gantry.Answer[api.Version](s.GetVersion(cmd.Context()))
		if err == nil {
			v.Server = &server
		}
		if shown := answered(s, v, printVersions); shown != nil {
			return shown
		}
		return err
	}
	return cmd
}

func printVersions(s *session, v versions) error {
	t := s.Facts()
	t.Fact("Client", v.Client)
	if v.Server != nil {
		t.Fact("Server", v.Server.Version)
		t.Fact("Contract", v.Server.Contract)
	}
	if err := t.Flush(); err != nil || v.Server == nil || len(v.Server.Replicas) < 2 {
		return err
	}
	fmt.Fprintln(s.Out)
	list := s.Table([]output.Column{{Title: "REPLICA"}, {Title: "VERSION"}, {Title: "STARTED"}, {Title: "PROBLEM", Wraps: true, Tone: always(output.Bad)}})
	for _, r := range v.Server.Replicas {
		list.Row(r.Name, deref(r.Version), s.When(r.StartedAt), deref(r.Problem))
	}
	return list.Flush()
}
