package spacelift_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/spacelift"
)

func TestBrakes(t *testing.T) {
	since := time.Date(2026, 1, 2, 8, 30, 0, 0, time.UTC)
	for _, tc := range []struct {
		name    string
		brakes  spacelift.Brakes
		confirm *spacelift.Block // what keeps a plan of run 01RUN from being confirmed
		queues  bool             // a new run is not kept back by it: it waits in the queue
	}{
		{name: "none"},
		{name: "the run itself holds the stack", brakes: spacelift.Brakes{Blocker: "01RUN"}},
		{
			name: "another run does", brakes: spacelift.Brakes{Blocker: "01OTHER"}, queues: true,
			confirm: &spacelift.Block{What: spacelift.BlockRun, By: "01OTHER", Reason: "another run, 01OTHER, holds the stack in Spacelift"},
		},
		{
			name: "locked", brakes: spacelift.Brakes{Lock: &spacelift.Lock{By: "jane", Since: since, Note: "moving the state"}, Blocker: "01OTHER"},
			confirm: &spacelift.Block{
				What: spacelift.BlockLock, By: "jane", Since: since, Note: "moving the state",
				Reason: "jane locked the stack in Spacelift on 2026-01-02 at 08:30 UTC: moving the state",
			},
		},
		{
			name: "locked, without saying more", brakes: spacelift.Brakes{Lock: &spacelift.Lock{By: "jane"}},
			confirm: &spacelift.Block{What: spacelift.BlockLock, By: "jane", Reason: "jane locked the stack in Spacelift"},
		},
		{
			name: "disabled", brakes: spacelift.Brakes{Disabled: true, Lock: &spacelift.Lock{By: "jane"}},
			confirm: &spacelift.Block{What: spacelift.BlockDisabled, Reason: "the stack is disabled in Spacelift"},
		},
		{
			name: "being deleted", brakes: spacelift.Brakes{Deleting: true, Disabled: true},
			confirm: &spacelift.Block{What: spacelift.BlockDeleting, Reason: "the stack is being deleted in Spacelift"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := tc.confirm
			if tc.queues {
				start = nil
			}
			if diff := cmp.Diff(tc.confirm, tc.brakes.ConfirmBlock("01RUN")); diff != "" {
				t.Errorf("confirming (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(start, tc.brakes.StartBlock()); diff != "" {
				t.Errorf("starting (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLongLockNotesAreCut(t *testing.T) {
	block := spacelift.Brakes{Lock: &spacelift.Lock{By: "jane", Note: strings.Repeat("ä", 400)}}.StartBlock()
	if len(block.Note) > 300 || !strings.HasSuffix(block.Note, "ä…") {
		t.Errorf("the note has %d bytes: %q", len(block.Note), block.Note)
	}
}
