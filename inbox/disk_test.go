//go:build unix

package inbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

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

// recovered waits until the inbox has recovered without a new event: a
// load balancer may send it nothing before.
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
		if h := in.Health(); h.Writable || !strings.Contains(h.Problem, "refuses writes") {
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

func TestFullDiskIsReportedAndOvercome(t *testing.T) {
	t.Parallel()
	for _, child := range []string{"diskfull", "cutwrite"} {
		out, err := childProcess(t, child, t.TempDir(), 0).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", child, err, out)
		}
	}
}
