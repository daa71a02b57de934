package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
)

func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "Write manual pages, one for each command", Args: cobra.ExactArgs(1),
		Long: `Writes a manual page for each command into a folder, which it creates. SOURCE_DATE_EPOCH, a time in seconds since 1970,
makes the pages the same whenever they are written.`,
		Example: "  gantry man /usr/local/share/man/man1 && man gantry-runs-approve",
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := manDate()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manual pages are for everyone
				return fmt.Errorf("create folder: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "gantry " + version, Manual: "Gantry", Date: &date}, args[0]); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			pages, err := filepath.Glob(filepath.Join(args[0], "gantry*.1"))
			if err != nil || !slices.Contains(pages, filepath.Join(args[0], "gantry.1")) {
				return fmt.Errorf("write manual pages: gantry.1 isn't in %s", args[0])
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d pages are in %s\n", len(pages), output.Clean(args[0]))
			return nil
		},
	}
}

// manDate returns the date of the pages.
func manDate() (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return now(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %q is not a number of seconds", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
