//go:build unix

package inbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// Some things can only be done to a process of its own: killing it, and taking
// the disk away from it. The test binary starts itself for them.
const (
	childEnv = "GANTRY_TEST_INBOX_CHILD"
	dirEnv   = "GANTRY_TEST_INBOX_DIR"
	roundEnv = "GANTRY_TEST_INBOX_ROUND"
)

var children = map[string]func(dir string) error{
	"traffic":  traffic,
	"second":   second,
	"readonly": readOnly,
}

func TestMain(m *testing.M) {
	if child := children[os.Getenv(childEnv)]; child != nil {
		if err := child(os.Getenv(dirEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func childProcess(t *testing.T, name, dir string, round int) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+name, dirEnv+"="+dir, roundEnv+"="+strconv.Itoa(round))
	return cmd
}

// fileTarget appends what it is sent to a file: a Temporal that outlives the
// process which signals it.
type fileTarget struct{ path string }

func (t fileTarget) Signal(_ context.Context, _ spacelift.RunRef, events []managed.RunEvent) error {
	line, err := json.Marshal(events)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(t.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	// A line break on both sides: a kill may leave the line before unfinished.
	_, err = fmt.Fprintf(f, "\n%s\n", line)
	return errors.Join(err, f.Close())
}

// traffic accepts events of many runs and says on its output which ones were
// accepted, until it is killed.
func traffic(dir string) error {
	in, err := Open(context.Background(), Options{
		Dir: filepath.Join(dir, "inbox"), Linger: 5 * time.Millisecond,
		// Small, so that kills hit retention as well.
		Archive: archive.Budgets{Entries: archive.Budget{Count: 4000}}, Bodies: archive.Budget{Count: 800}, segment: 128 << 10,
	})
	if err != nil {
		return err
	}
	if h := in.Health(); h.Problem != "" {
		return fmt.Errorf("after a kill: %s", h.Problem)
	}
	go func() {
		_ = NewForwarder(in, fileTarget{filepath.Join(dir, "sent")}, ForwarderOptions{}).Run(context.Background())
	}()
	var out sync.Mutex
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for n := 0; ; n++ {
				run := spacelift.RunRef{Account: "acme", Stack: "network", Run: spacelift.RunID(fmt.Sprintf("%s-%d-%d", os.Getenv(roundEnv), w, n))}
				for v, s := range life {
					if _, err := in.Accept(context.Background(), notice(run, v, s), []byte(`{}`)); err != nil {
						continue
					}
					out.Lock()
					fmt.Fprintf(os.Stdout, "%s %d\n", run.Run, v)
					out.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func TestKilledAgainAndAgainNothingAcceptedIsLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	accepted := map[string]bool{}
	for round := range 20 {
		cmd := childProcess(t, "traffic", dir, round)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		last := rand.IntN(2000)
		for n := 0; lines.Scan(); n++ {
			accepted[lines.Text()] = true
			if n == last {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("round %d ended early (%v): %s", round, err, &stderr)
		}
	}

	in := open(t, Options{Dir: filepath.Join(dir, "inbox")})
	if h := in.Health(); h.Problem != "" {
		t.Errorf("after the last kill: %s", h.Problem)
	}
	stop := forward(t, in, fileTarget{filepath.Join(dir, "sent")}, ForwarderOptions{})
	waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
	stop()

	sent, err := os.ReadFile(filepath.Join(dir, "sent"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{} // event → delivery
	next := map[spacelift.RunID]int{}
	repeats := 0
	for line := range strings.Lines(string(sent)) {
		var events []managed.RunEvent
		if err := json.Unmarshal([]byte(line), &events); err != nil {
			// The kill hit the target in the middle of a line; its sender never
			// learned that it was sent, and so sent it again.
			continue
		}
		for _, e := range events {
			key := fmt.Sprintf("%s %d", e.Run.Run, e.StateVersion)
			if id, ok := got[key]; ok {
				repeats++
				if id != e.Delivery {
					t.Errorf("event %s was sent as %s and as %s", key, id, e.Delivery)
				}
				continue
			}
			got[key] = e.Delivery
			if e.StateVersion != next[e.Run.Run] {
				t.Errorf("run %s: version %d came when %d was due", e.Run.Run, e.StateVersion, next[e.Run.Run])
			}
			next[e.Run.Run] = e.StateVersion + 1
		}
	}
	for key := range accepted {
		if _, ok := got[key]; !ok {
			t.Errorf("event %s was accepted and is lost", key)
		}
	}
	t.Logf("20 kills, %d events accepted, %d sent again", len(accepted), repeats)
}

// second opens a folder that is in use, and prints the error.
func second(dir string) error {
	_, err := Open(context.Background(), Options{Dir: dir})
	_, err = fmt.Fprint(os.Stdout, err)
	return err
}

func TestSecondProcessIsRefusedWithARemedy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := open(t, Options{Dir: dir})
	out, err := childProcess(t, "second", dir, 0).CombinedOutput()
	want := fmt.Sprintf("open inbox: another process uses %s; stop it, or give each process its own directory", dir)
	if err != nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
	closeInbox(t, in)
	out, err = childProcess(t, "second", dir, 0).CombinedOutput()
	if err != nil || string(out) != "<nil>" {
		t.Errorf("after the first one: %v: %q", err, out)
	}
}

// readOnly opens a folder that it may not write to.
func readOnly(dir string) error {
	if os.Getuid() == 0 { // root may write to everything
		if err := errors.Join(syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
			return err
		}
	}
	return second(dir)
}

func TestReadOnlyFolderIsAnErrorAtTheStart(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	dir := filepath.Join(temp, "inbox")
	if err := errors.Join(os.Chmod(temp, 0o755), os.Chmod(filepath.Dir(temp), 0o755)); err != nil {
		t.Fatal(err)
	}
	in := open(t, Options{Dir: dir})
	accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
	closeInbox(t, in)
	path := filepath.Join(dir, archiveName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o444), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	out, err := childProcess(t, "readonly", dir, 0).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "not writable") {
		t.Errorf("%v: %q, want an error that the file is not writable", err, out)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed (%v)", err)
	}
}
