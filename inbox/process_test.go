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

	"golang.org/x/sync/errgroup"

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
	seedEnv  = "GANTRY_TEST_INBOX_SEED" // of a bad disk
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
// accepted, until it is killed. With a seed its disk is bad; it says there what failed,
// and about every fourth failure kills it.
func traffic(dir string) error {
	o := Options{
		Dir: filepath.Join(dir, "inbox"), Linger: 5 * time.Millisecond,
		// Small, so that kills hit retention as well.
		Archive: archive.Budgets{Entries: archive.Budget{Count: 4000}}, Bodies: archive.Budget{Count: 800}, segment: 128 << 10,
	}
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Fprintf(os.Stdout, format+"\n", args...)
	}
	if s := os.Getenv(seedEnv); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return err
		}
		disk := newBadDisk(o.Dir, seed)
		disk.failed = func(op string, err error) {
			say("%s%s: %v", failurePrefix, op, err)
			disk.set(func() {
				if disk.random.IntN(4) == 0 {
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				}
			})
		}
		o.openFile = disk.openFile
	}
	in, err := Open(context.Background(), o)
	if err != nil {
		return err
	}
	if h := in.Health(); len(h.Damage) > 0 || o.openFile == nil && h.Problem != "" {
		return fmt.Errorf("after a kill: %s", h.Problem)
	}
	go func() {
		_ = NewForwarder(in, fileTarget{filepath.Join(dir, "sent")}, ForwarderOptions{}).Run(context.Background())
	}()
	var g errgroup.Group
	for w := range 16 {
		g.Go(func() error {
			for n := 0; ; n++ {
				run := spacelift.RunRef{Account: "acme", Stack: "network", Run: spacelift.RunID(fmt.Sprintf("%s-%d-%d", os.Getenv(roundEnv), w, n))}
				for v, s := range life {
					accepted, err := send(in, notice(run, v, s), v%2 == 0)
					if err != nil {
						return err
					}
					if accepted {
						say("%s %d", run.Run, v)
					}
				}
			}
		})
	}
	return g.Wait()
}

// send sends an event to the inbox. A stubborn sender repeats it until it is
// accepted, another one gives up.
func send(in *Inbox, d archive.Delivery, stubborn bool) (accepted bool, err error) {
	for began := time.Now(); ; pass(time.Millisecond) {
		_, err := in.Accept(context.Background(), d, []byte(`{}`))
		if err == nil || !stubborn {
			return err == nil, nil
		}
		if time.Since(began) > 20*time.Second {
			return false, fmt.Errorf("the inbox does not heal: %w", err)
		}
	}
}

func TestKilledAgainAndAgainNothingAcceptedIsLost(t *testing.T) {
	t.Parallel()
	killAgainAndAgain(t, 20, rand.New(rand.NewPCG(rand.Uint64(), 0)), false)
}

// The disk tears writes, gets full and fails flushes, for a moment or for a
// second, and some of the kills strike in the middle of that. What was accepted is there
// and arrives in order, and the inbox heals without help. A seed repeats the mishaps and
// the writes that they strike, but not the timing of senders and kills. With SOAK=10m in
// the environment the test continues for at least that long, a seed after the other.
func TestKilledAgainAndAgainOnABadDisk(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64N(1e9)
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	soak, _ := time.ParseDuration(os.Getenv("SOAK"))
	for end := time.Now().Add(soak); ; seed++ {
		ok := t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			killAgainAndAgain(t, 10, rand.New(rand.NewPCG(seed, 0)), true)
		})
		if !ok || !time.Now().Before(end) {
			return
		}
	}
}

// failurePrefix is that of the lines in which traffic says that its disk failed.
const failurePrefix = "failed "

// killAgainAndAgain kills traffic, on a bad disk or not, and checks that nothing
// that it accepted is lost.
func killAgainAndAgain(t *testing.T, kills int, random *rand.Rand, bad bool) {
	dir := t.TempDir()
	accepted := map[string]bool{}
	failures := map[string]int{}
	for round := range kills {
		cmd := childProcess(t, "traffic", dir, round)
		if bad {
			cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", seedEnv, random.Uint64()))
		}
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
		last := random.IntN(2000)
		for n := 0; lines.Scan(); n++ {
			if failure, ok := strings.CutPrefix(lines.Text(), failurePrefix); ok {
				failures[failure]++
				continue
			}
			accepted[lines.Text()] = true
			if n >= last {
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
	got, repeats := arrivals(t, filepath.Join(dir, "sent"), bad)
	for key := range accepted {
		if !got[key] {
			t.Errorf("event %s was accepted and is lost", key)
		}
	}
	t.Logf("%d kills, %d events accepted, %d sent again, failures %v", kills, len(accepted), repeats, failures)
}

// arrivals reads what a fileTarget was sent, checks its order, and counts what was
// sent again. A bad disk may have refused some events of a run.
func arrivals(t *testing.T, path string, bad bool) (got map[string]bool, repeats int) {
	sent, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{} // event → delivery
	got = map[string]bool{}
	next := map[spacelift.RunID]int{}
	for line := range strings.Lines(string(sent)) {
		var events []managed.RunEvent
		if err := json.Unmarshal([]byte(line), &events); err != nil {
			// The kill hit the target in the middle of a line; its sender never
			// learned that it was sent, and so sent it again.
			continue
		}
		for _, e := range events {
			key := fmt.Sprintf("%s %d", e.Run.Run, e.StateVersion)
			if id, ok := ids[key]; ok {
				repeats++
				if id != e.Delivery {
					t.Errorf("event %s was sent as %s and as %s", key, id, e.Delivery)
				}
				continue
			}
			ids[key], got[key] = e.Delivery, true
			if due := next[e.Run.Run]; e.StateVersion < due || e.StateVersion > due && !bad {
				t.Errorf("run %s: version %d came when %d was due", e.Run.Run, e.StateVersion, due)
			}
			next[e.Run.Run] = e.StateVersion + 1
		}
	}
	return got, repeats
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
