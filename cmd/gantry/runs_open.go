package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/cli/browser"
	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
)

func newRunsOpenCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "open RUN", Short: "Open a run in the browser", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(runOrStackNames, true),
		Long: "Opens the page of a run in Spacelift or, with --gantry, Gantry's own. Without a terminal, it prints the address.",
	}
	own := cmd.Flags().Bool("gantry", false, "open Gantry's page of the run")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, name, err := r.about(cmd, args, newest)
		if err != nil {
			return err
		}
		page := new(s.pageOf(name))
		if !*own {
			run, err := s.run(cmd.Context(), name)
			if err != nil {
				return err
			}
			page = run.URL
		}
		if page != nil && !interactive(cmd) {
			fmt.Fprintln(s.Out, output.Clean(*page))
			return nil
		}
		opened, err := openPage(cmd.Context(), page)
		if err == nil {
			fmt.Fprintln(s.Out, opened)
		}
		return err
	}
	return cmd
}

// pageOf returns the address of Gantry's page of a run, below the address of its API.
func (s *session) pageOf(n runName) string {
	return fmt.Sprintf("%s/accounts/%s/stacks/%s/runs/%s", s.address, url.PathEscape(n.account), url.PathEscape(n.stack), url.PathEscape(n.run))
}

// openPage opens a web page in the system's browser.
func openPage(_ context.Context, page *string) (string, error) {
	if page == nil {
		return "", errors.New("the run has no page: no notification has named it yet")
	}
	u, err := url.Parse(*page)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("%q is not the address of a web page", output.Clean(*page))
	}
	browser.Stdout, browser.Stderr = io.Discard, io.Discard // the screen is in use
	if err := browser.OpenURL(u.String()); err != nil {
		return "", fmt.Errorf("open a browser: %w; the page is %s", err, output.Clean(u.String()))
	}
	return "opened " + output.Clean(u.String()), nil
}
