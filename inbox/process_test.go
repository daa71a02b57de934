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
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// Some things can only be done to a process of its own: killing it, and taking
// the disk away from it. The test binary starts itself for them.
const (
	childEnv = "GANTRY_TEST_INBOX_CHILD"
	dirEnv   = "GANTRY_TEST_INBOX_DIR"
	roundEnv = "GANTRY_TEST_INBOX_ROUND"
)

var children = map[string]func(dir string) error{
	"traffic":   traffic,
	"diskfull":  diskFull,
	"cutwrite":  cutWrite,
	"fullstart": fullStart,
	"second":    second,
	"readonly":  readOnly,
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

func (t fileTarget) Signal(_ context.Context, _ spacelift.RunRef, events []workflows.RunEvent) error {
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
		Entries: Budget{Count: 4000}, Bodies: Budget{Count: 800},
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
					if _, err := in.Accept(context.Background(), Delivery{}, event(run, v, s), []byte(`{}`)); err != nil {
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
			t.Fatalf("round %d ended by itself (%v): %s", round, err, &stderr)
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
		var events []workflows.RunEvent
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

// limitFiles sets the size above which the process cannot write to files. Go
// turns the signal that comes with it into an exit; ignored, writes fail with
// EFBIG.
func limitFiles(n uint64) error {
	signal.Ignore(syscall.SIGXFSZ)
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		return err
	}
	l.Cur = min(n, l.Max)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
}

const noLimit = ^uint64(0)

// recovered waits until the inbox has found out by itself that it can write: a
// load balancer may send it nothing until it says so.
func recovered(in *Inbox) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !in.Health().Writable {
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("does not recover: %+v", in.Health())
		}
	}
	return nil
}

// cutWrite has a write end in the middle of a page, and checks that a shorter
// one after it leaves nothing of it.
func cutWrite(dir string) error {
	ctx := context.Background()
	in, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		return err
	}
	body := bytes.Repeat([]byte("x"), 5000)
	take := func(n int) error {
		_, err := in.Accept(ctx, Delivery{}, event(runRef(n), 0, spacelift.RunStateQueued), body)
		return err
	}
	if err := take(1); err != nil {
		return err
	}
	log, err := os.Stat(filepath.Join(dir, fileName+walSuffix))
	if err != nil {
		return err
	}
	if err := limitFiles(uint64(log.Size()) + 3000); err != nil {
		return err
	}
	if err := take(2); !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("a write that was cut short: %w, want ErrUnavailable", err)
	}
	if err := limitFiles(noLimit); err != nil {
		return err
	}
	if err := errors.Join(recovered(in), in.Close()); err != nil {
		return err
	}
	if in, err = Open(ctx, Options{Dir: dir}); err != nil {
		return err
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "*.damaged-*")); len(aside) > 0 {
		return fmt.Errorf("the cut write left its trace: %v", aside)
	}
	if n := in.Health().Pending; n != 1 {
		return fmt.Errorf("%d events are there, want the one that was accepted", n)
	}
	return in.Close()
}

// diskFull takes the disk away from an inbox, and gives it back.
func diskFull(dir string) error {
	ctx := context.Background()
	in, err := Open(ctx, Options{Dir: dir, Entries: Budget{Count: 800}, Bodies: Budget{Count: 800}})
	if err != nil {
		return err
	}
	target := &fakeTarget{}
	forwarding, stop := context.WithCancel(ctx)
	defer stop()
	forwarder := make(chan error, 1)
	go func() { forwarder <- NewForwarder(in, target, ForwarderOptions{}).Run(forwarding) }()

	var accepted []Delivery
	take := func(n int) error {
		d, err := in.Accept(ctx, Delivery{}, event(runRef(n), 0, spacelift.RunStateQueued), []byte(`{}`))
		if err == nil {
			accepted = append(accepted, d)
		}
		return err
	}
	for n := range 50 {
		if err := take(n); err != nil {
			return err
		}
	}

	for cycle := range 3 {
		if err := limitFiles(1024); err != nil {
			return err
		}
		base := 1000 * (cycle + 1)
		refused := 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for n := range 64 { // twins among them: neither is stored, neither is a duplicate
			wg.Go(func() {
				d, err := in.Accept(ctx, Delivery{}, event(runRef(base+n/2), 0, spacelift.RunStateQueued), []byte(`{}`))
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, ErrUnavailable) && d.Outcome != OutcomeDuplicate {
					refused++
				}
			})
		}
		wg.Wait()
		if refused != 64 {
			return fmt.Errorf("cycle %d: %d of 64 events were refused with ErrUnavailable", cycle, refused)
		}
		if h := in.Health(); h.Writable || !strings.Contains(h.Problem, "refuses to write") {
			return fmt.Errorf("cycle %d: health %+v", cycle, h)
		}
		in.Log(Delivery{Outcome: OutcomeUnavailable, Reason: "not-stored"})
		page, _, err := in.List(ctx, Filter{}, 100, "")
		if err != nil || len(page) != min(100, len(accepted)+1+cycle) || page[0].Outcome != OutcomeUnavailable {
			return fmt.Errorf("cycle %d: the log shows %d deliveries (%w)", cycle, len(page), err)
		}

		if err := limitFiles(noLimit); err != nil {
			return err
		}
		if err := recovered(in); err != nil {
			return fmt.Errorf("cycle %d: %w", cycle, err)
		}
		for n := range 32 { // nothing of the refused ones was stored
			d, err := in.Accept(ctx, Delivery{}, event(runRef(base+n), 0, spacelift.RunStateQueued), []byte(`{}`))
			if err != nil || d.Outcome != OutcomeAccepted {
				return fmt.Errorf("cycle %d: after recovery: %+v (%w)", cycle, d, err)
			}
			accepted = append(accepted, d)
		}
	}
	stop()
	if err := errors.Join(<-forwarder, in.Close()); err != nil {
		return err
	}

	if in, err = Open(ctx, Options{Dir: dir}); err != nil {
		return err
	}
	if h := in.Health(); h.Problem != "" {
		return fmt.Errorf("after reopening: %s", h.Problem)
	}
	for _, d := range accepted {
		got, _, err := in.Get(ctx, d.ID)
		if err != nil || got.Run != d.Run {
			return fmt.Errorf("accepted %s is %+v (%w)", d.ID, got, err)
		}
	}
	sent := map[string]int{}
	for _, s := range target.signals {
		for _, e := range s {
			sent[e.Delivery]++
		}
	}
	for id, n := range sent {
		if n != 1 {
			return fmt.Errorf("delivery %s was sent %d times", id, n)
		}
	}
	return in.Close()
}

// fullStart opens an inbox on a full disk: nothing can be stored, but what is
// pending goes out.
func fullStart(dir string) error {
	ctx := context.Background()
	in, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		return err
	}
	take := func(n int) error {
		_, err := in.Accept(ctx, Delivery{}, event(runRef(n), 0, spacelift.RunStateQueued), []byte(`{}`))
		return err
	}
	if err := errors.Join(take(1), take(2), in.Close(), limitFiles(1024)); err != nil {
		return err
	}
	if in, err = Open(ctx, Options{Dir: dir}); err != nil {
		return err
	}
	if h := in.Health(); h.Writable || h.Problem == "" || h.Pending != 2 {
		return fmt.Errorf("on a full disk: health %+v", h)
	}
	if err := take(3); !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("on a full disk: %w, want ErrUnavailable", err)
	}
	forwarding, stop := context.WithCancel(ctx)
	forwarder := make(chan error, 1)
	go func() { forwarder <- NewForwarder(in, &fakeTarget{}, ForwarderOptions{}).Run(forwarding) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); in.Health().Pending > 0; <-tick.C {
		if time.Now().After(deadline) {
			stop()
			return fmt.Errorf("on a full disk nothing goes out: %+v", in.Health())
		}
	}
	stop()
	if err := errors.Join(<-forwarder, limitFiles(noLimit), recovered(in), take(3), in.Close()); err != nil {
		return err
	}
	if in, err = Open(ctx, Options{Dir: dir}); err != nil {
		return err
	}
	if h := in.Health(); h.Pending != 1 {
		return fmt.Errorf("what went out on the full disk is forgotten: %+v", h)
	}
	return in.Close()
}

func TestFullDiskAtTheStart(t *testing.T) {
	t.Parallel()
	out, err := childProcess(t, "fullstart", t.TempDir(), 0).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestFullDiskIsToldAndOvercome(t *testing.T) {
	t.Parallel()
	for _, child := range []string{"diskfull", "cutwrite"} {
		out, err := childProcess(t, child, t.TempDir(), 0).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", child, err, out)
		}
	}
}

// second opens a folder that is in use, and says what it is told.
func second(dir string) error {
	_, err := Open(context.Background(), Options{Dir: dir})
	_, err = fmt.Fprint(os.Stdout, err)
	return err
}

func TestSecondProcessIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := open(t, Options{Dir: dir})
	out, err := childProcess(t, "second", dir, 0).CombinedOutput()
	want := fmt.Sprintf("open inbox: another process uses %s: stop it, or give each process a directory of its own", dir)
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

func TestReadOnlyFolderIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	dir := filepath.Join(temp, "inbox")
	if err := errors.Join(os.Chmod(temp, 0o755), os.Chmod(filepath.Dir(temp), 0o755)); err != nil {
		t.Fatal(err)
	}
	in := open(t, Options{Dir: dir})
	accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued))
	closeInbox(t, in)
	path := filepath.Join(dir, fileName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o444), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	out, err := childProcess(t, "readonly", dir, 0).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "can't be written") {
		t.Errorf("%v: %q, want it to say that the folder can't be written", err, out)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed (%v)", err)
	}
}
