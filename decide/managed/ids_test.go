package managed

import (
	"testing"

	"github.com/gantryhq/gantry/spacelift"
)

func TestIDsAreReadBack(t *testing.T) {
	run := spacelift.RunRef{Account: "acme", Stack: "network", Run: "01J8"}
	if got, err := ParseRunID(ManageRunID(run)); err != nil || got != run {
		t.Errorf("read %v from %q (%v), want %v", got, ManageRunID(run), err, run)
	}
	if got, err := ParseChainID(ChainID(run)); err != nil || got.Account != run.Account || got.Run != run.Run {
		t.Errorf("read %v from %q (%v), want %v", got, ChainID(run), err, run)
	}
	for _, id := range []string{"", "run/acme/network", "run/acme//01J8", "run/acme/network/01J8/2", RetryRunID(run), ChainID(run)} {
		if got, err := ParseRunID(id); err == nil {
			t.Errorf("read the run %v from %q, which names none", got, id)
		}
	}
	for _, id := range []string{"", "chain/acme", ManageRunID(run)} {
		if got, err := ParseChainID(id); err == nil {
			t.Errorf("read the chain of %v from %q, which names none", got, id)
		}
	}
}
