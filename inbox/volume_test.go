//go:build linux

package inbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gantryhq/gantry/inbox/wal"
	"github.com/gantryhq/gantry/spacelift"
)

// smallVolume mounts a volume of a size.
func smallVolume(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root mounts a volume")
	}
	dir := filepath.Join(t.TempDir(), "volume")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a volume: %v; let CI run as a root that may mount, or as another user", err)
		}
		t.Skipf("mount a volume: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A real volume that waiting events have filled, the archive included, heals once
// they are forwarded, and sends nothing again after a restart. It does so with segments of
// the usual size as well, although few of them fit.
func TestFullVolumeHealsByItself(t *testing.T) {
	t.Parallel()
	for _, segment := range []int64{1 << 20, wal.DefaultSegment} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("segments of %d MiB, restart %t", segment>>20, restart), func(t *testing.T) {
				t.Parallel()
				opts := Options{Dir: smallVolume(t, "12m"), segment: segment, Logger: silent}
				fullVolumeHeals(t, opts, restart)
			})
		}
	}
}

func fullVolumeHeals(t *testing.T, opts Options, restart bool) {
	t.Helper()
	in := open(t, opts)
	body := make([]byte, 1000)
	accepted := 0
	fill := func() error {
		for {
			if _, err := in.Accept(t.Context(), notice(runRef(accepted%1000), accepted/1000, spacelift.RunStateUnconfirmed), body); err != nil {
				return err
			}
			accepted++
		}
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); { // with what the housekeeper can do for it
		if err := fill(); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		pass(100 * time.Millisecond)
	}
	if h := in.Health(); h.Writable || !strings.Contains(h.Problem, "no space left") || h.Pending != accepted || accepted < 3000 {
		t.Fatalf("on a full volume after %d events: %+v", accepted, h)
	}
	if restart {
		closeInbox(t, in)
		in = open(t, opts)
		if h := in.Health(); h.Pending != accepted {
			t.Fatalf("after a restart on a full volume: %+v, want %d pending events", h, accepted)
		}
	}
	target := &fakeTarget{}
	stop := forward(t, in, target, ForwarderOptions{})
	waitFor(t, in, func(h Health) bool { return h.Writable && h.Pending == 0 })
	if sent := len(slices.Concat(target.signals...)); sent != accepted {
		t.Errorf("%d events were sent of %d", sent, accepted)
	}
	accept(t, in, notice(runRef(-1), 0, spacelift.RunStateQueued))
	waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
	stop()
	closeInbox(t, in)
	in = open(t, opts)
	if h := in.Health(); h.Pending != 0 || !h.Writable || h.Problem != "" {
		t.Errorf("after a restart: %+v", h)
	}
}
