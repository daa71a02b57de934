package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newAuditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Show who changed what, and check that the record is whole"}
	list, export := newAuditListCommand(), newAuditExportCommand()
	cmd.AddCommand(list, export, newAuditVerifyCommand())
	return cmd
}

func newAuditListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List entries of a replica's audit log, newest first", Args: cobra.NoArgs,
		Example: "  gantry audit list --by ann --since 7d",
	}
	r := remoteFlags(cmd)
	f := cmd.Flags()
	by := f.String("by", "", "only entries of this person or machine; Gantry for what it did by its rules")
	action := f.String("action", "", "only entries of this action, such as decideRun or runConfirm")
	account := f.String("account", "", "only entries about this account")
	stack := f.String("stack", "", "only entries about this stack")
	run := f.String("run", "", "only entries about this run")
	since := f.String("since", "", "only entries at or after this time, or within a duration such as 2h")
	until := f.String("until", "", "only entries before this time, or longer ago than a duration such as 2h")
	result := choiceFlag(cmd, "result", "only entries with this result", "done", "refused", "failed", "unanswered")
	completeStacks(r, cmd)
	limit := pagingFlags(cmd)
	listing(r, cmd, noEvents, func(ctx context.Context, s *session, _ []string) (api.AuditList, error) {
		p := api.ListAuditParams{
			By: given(*by), Action: given(*action), Account: given(*account), Stack: given(*stack), Run: given(*run), Result: given(api.AuditResult(*result)),
		}
		if err := between(&p, *since, *until); err != nil {
			return api.AuditList{}, err
		}
		return s.audit(ctx, p, limit.most())
	}, func(s *session, list api.AuditList) error {
		t := s.List("entries", []output.Column{{Title: "ENTRY", Drop: 1}, {Title: "AT"}, {Title: "BY"}, {Title: "ACTION"}, {Title: "RESULT", Tone: toneOf}, {Title: "ON"}, {Title: "WHY", Wraps: true}, {Title: "RUN", Drop: 2}})
		for _, e := range list.Entries {
			t.Row(strconv.FormatInt(e.Sequence, 10), s.When(&e.At), e.By, e.Action, string(e.Result), subjectOf(e), cmp.Or(deref(e.Detail), deref(e.Why)), deref(e.Run))
		}
		return t.Flush()
	})
	return cmd
}

// subjectOf returns what an entry is about, besides its run.
func subjectOf(e api.AuditEntry) string {
	return strings.TrimSpace(stackOf(e.Account, e.Stack) + " " + deref(e.On))
}

func between(p *api.ListAuditParams, since, until string) (err error) {
	p.Since, p.Until, err = period(since, until)
	return err
}

func (s *session) audit(ctx context.Context, p api.ListAuditParams, limit int) (all api.AuditList, err error) {
	all.Entries, all.NextPageToken, err = pages(limit, func(size *int, token *string) ([]api.AuditEntry, *string, error) {
		p.PageSize, p.PageToken = size, token
		page, err := gantry.Answer[api.AuditList](s.ListAudit(ctx, &p))
		all.Head = cmp.Or(all.Head, page.Head)
		return page.Entries, page.NextPageToken, err
	})
	return all, err
}

func newAuditExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Print a replica's audit log as JSON Lines, oldest first", Args: cobra.NoArgs,
		Long: `Prints each entry as the log stores it, with its hash, so that gantry audit verify
can check the export. Each replica has a log of its own.`,
		Example: "  gantry audit export --since 30d > audit.jsonl && gantry audit verify audit.jsonl",
	}
	r := remoteFlags(cmd)
	since := cmd.Flags().String("since", "", "only entries at or after this time, or within a duration such as 2h")
	until := cmd.Flags().String("until", "", "only entries before this time, or longer ago than a duration such as 2h")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := r.connect(cmd)
		if err != nil {
			return err
		}
		var p api.ListAuditParams
		if err := between(&p, *since, *until); err != nil {
			return err
		}
		list, err := s.audit(cmd.Context(), p, int(^uint(0)>>1))
		if err != nil {
			return err
		}
		out := bufio.NewWriter(s.Out)
		for _, e := range slices.Backward(list.Entries) {
			fmt.Fprintln(out, e.Line)
		}
		return out.Flush()
	}
	return cmd
}

func newAuditVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify FOLDER|FILE", Short: "Check that nothing in an audit log was changed, dropped or moved", Args: cobra.ExactArgs(1),
		Long: `Checks the hash of each entry and that each continues the one before it. FOLDER is
the folder of an audit log, FILE an export, and - reads one from standard input.
Nothing but a head that was kept elsewhere (--head) proves that the end of an export
is not missing.`,
		Example: "  gantry audit verify /var/lib/gantry/audit\n  gantry audit verify audit.jsonl --head 5120:9f86d081884c7d65…",
	}
	heads := cmd.Flags().StringSlice("head", nil, "number and hash of an entry, with a colon between, that was kept elsewhere")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		kept, err := headsOf(*heads)
		if err != nil {
			return err
		}
		report, err := verify(cmd.InOrStdin(), args[0], kept)
		if err != nil {
			return err
		}
		for _, p := range report.Problems {
			fmt.Fprintln(cmd.ErrOrStderr(), p)
		}
		if n := len(report.Problems); n > 0 {
			return fmt.Errorf("the audit log is not whole: problems at %d places", n)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d entries are whole, %d to %d\nhead %d:%s\n", report.Entries, report.First, report.Head.Sequence, report.Head.Sequence, report.Head.Hash)
		return nil
	}
	return cmd
}

func verify(stdin io.Reader, name string, kept []audit.Head) (audit.Report, error) {
	if name == "-" {
		return audit.VerifyStream("standard input", stdin, kept...)
	}
	if info, err := os.Stat(name); err != nil || info.IsDir() {
		return audit.Verify(name, kept...)
	}
	f, err := os.Open(name)
	if err != nil {
		return audit.Report{}, err
	}
	defer func() { _ = f.Close() }() // only read
	return audit.VerifyStream(name, f, kept...)
}

func headsOf(texts []string) (heads []audit.Head, err error) {
	for _, text := range texts {
		number, hash, _ := strings.Cut(text, ":")
		sequence, err := strconv.ParseInt(number, 10, 64)
		if err != nil || len(hash) != 64 {
			return nil, fmt.Errorf("--head: %q is not an entry's number, a colon and its hash of 64 hex digits, as gantry audit verify prints them", text)
		}
		heads = append(heads, audit.Head{Sequence: sequence, Hash: hash})
	}
	return heads, nil
}
