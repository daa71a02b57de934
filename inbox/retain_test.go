package inbox

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// diskUse is the sum of all files below dir.
func diskUse(t testing.TB, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		n += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// maxLog is how big SQLite's write-ahead log gets, more or less.
const maxLog = 2 << 20

// small keeps few deliveries, in many small segments.
var small = Options{
	Entries: Budget{Count: 400, Bytes: 1 << 20},
	Bodies:  Budget{Count: 100, Bytes: 1 << 20},
	Dead:    Budget{Count: 20, Bytes: 1 << 20},
	Ignored: Budget{Count: 80},
	Refused: Budget{Count: 40},
}

func TestForwardedDeliveriesLoseTheirBodyAndAreThenDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := small
		opts.Dir = t.TempDir()
		in := open(t, opts)
		forward(t, in, &fakeTarget{}, ForwarderOptions{})
		const n = 900
		var ids []string
		for i := range n {
			ids = append(ids, accept(t, in, event(runRef(i), 0, spacelift.RunStateQueued)).ID)
			if i%20 == 0 {
				pass(time.Second)
			}
		}
		pass(time.Minute)
		synctest.Wait()

		check := func(when string) {
			t.Helper()
			kept, bodies := 0, 0
			for i, id := range ids {
				d, body, err := in.Get(t.Context(), id)
				if errors.Is(err, ErrNotFound) {
					if kept > 0 {
						t.Fatalf("%s: number %d is gone, and older ones are there", when, i)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if d.Forwarding != ForwardingForwarded || d.Run != runRef(i) || d.HasBody != (len(body) > 0) {
					t.Fatalf("%s: number %d is %+v with %d bytes", when, i, d, len(body))
				}
				kept++
				if d.HasBody {
					bodies++
				} else if bodies > 0 {
					t.Fatalf("%s: number %d has no body, and older ones have", when, i)
				}
			}
			if kept > 400+60 || kept < 400-60 {
				t.Errorf("%s: %d entries are kept, want about 400", when, kept)
			}
			if bodies > 100+30 || bodies < 100-30 {
				t.Errorf("%s: %d bodies are kept, want about 100", when, bodies)
			}
		}
		check("immediately")
		if use := diskUse(t, opts.Dir); use > 1<<20+maxLog {
			t.Errorf("%d bytes on disk", use)
		}
		if h := in.Health(); h.Problem != "" {
			t.Errorf("health %+v", h)
		}
		repeat := func() Outcome { return accept(t, in, event(runRef(n-1), 0, spacelift.RunStateQueued)).Outcome }
		if got := repeat(); got != OutcomeDuplicate {
			t.Errorf("a repeat within the window is %s", got)
		}
		d, err := in.Redeliver(t.Context(), ids[n-300]) // its body is gone, its event is not
		if err != nil || d.HasBody {
			t.Errorf("redeliver one without a body: %+v (%v)", d, err)
		}
	})
}

func TestRetentionSurvivesReopening(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := small
		opts.Dir = t.TempDir()
		opts.Logger = silent
		target := &fakeTarget{}
		seen := map[string]bool{}
		var last string
		for round := range 5 {
			in := open(t, opts)
			if h := in.Health(); h.Problem != "" {
				t.Fatalf("round %d: %s", round, h.Problem)
			}
			if last != "" {
				if d, _, err := in.Get(t.Context(), last); err != nil || d.Forwarding != ForwardingForwarded {
					t.Fatalf("round %d: the last delivery of the one before is %+v (%v)", round, d, err)
				}
			}
			stop := forward(t, in, target, ForwarderOptions{})
			for i := range 200 {
				last = accept(t, in, event(runRef(round*1000+i), 0, spacelift.RunStateQueued)).ID
				if i%20 == 0 {
					pass(time.Second)
				}
			}
			pass(time.Minute)
			synctest.Wait()
			stop()
			closeInbox(t, in)
		}
		for _, s := range target.signals {
			for _, e := range s {
				if seen[e.Delivery] {
					t.Fatalf("delivery %s was sent twice", e.Delivery)
				}
				seen[e.Delivery] = true
			}
		}
		if len(seen) != 1000 {
			t.Errorf("%d events were sent, want 1000", len(seen))
		}
	})
}

func TestPendingAndDeadOutliveEverythingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := small
		opts.Dir = t.TempDir()
		stuck, refused := runRef(1), runRef(2)
		target := &fakeTarget{fail: func(run spacelift.RunRef, _ []managed.RunEvent) error {
			switch run {
			case stuck:
				return errAway
			case refused:
				return ErrRefused
			}
			return nil
		}}
		in := open(t, opts)
		stop := forward(t, in, target, ForwarderOptions{BackoffMax: time.Second})
		pending := accept(t, in, event(stuck, 0, spacelift.RunStateQueued))
		dead := accept(t, in, event(refused, 0, spacelift.RunStateQueued))
		first := accept(t, in, event(runRef(3), 0, spacelift.RunStateQueued))
		for i := range 800 {
			accept(t, in, event(runRef(1000+i), 0, spacelift.RunStateQueued))
			if i%20 == 0 {
				pass(5 * time.Second)
			}
		}
		pass(time.Minute)
		synctest.Wait()
		if _, _, err := in.Get(t.Context(), first.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("an old forwarded delivery: %v, want ErrNotFound", err)
		}
		check := func(when string) {
			t.Helper()
			for _, c := range []struct {
				id   string
				want Forwarding
			}{{pending.ID, ForwardingPending}, {dead.ID, ForwardingDead}} {
				d, body, err := in.Get(t.Context(), c.id)
				if err != nil || d.Forwarding != c.want || len(body) == 0 {
					t.Errorf("%s: %+v with %d bytes (%v), want it %s and whole", when, d, len(body), err, c.want)
				}
			}
		}
		check("immediately")
		stop()
		closeInbox(t, in)
		in = open(t, opts)
		check("after reopening")
		if h := in.Health(); h.Pending != 1 || h.Dead != 1 || h.Problem != "" {
			t.Errorf("health %+v", h)
		}
		if got := accept(t, in, event(stuck, 0, spacelift.RunStateQueued)).Outcome; got != OutcomeDuplicate {
			t.Errorf("a repeat of the pending one is %s", got)
		}
		if got := in.ids.last.String(); got <= pending.ID {
			t.Errorf("ids start again at %s", got)
		}
	})
}

func TestDeadDeliveriesBeyondTheirBudgetAreLoggedAndDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := small
		opts.Dir = t.TempDir()
		var log strings.Builder
		opts.Logger = textLogger(&log)
		in := open(t, opts)
		refuse := true
		target := &fakeTarget{fail: func(spacelift.RunRef, []managed.RunEvent) error {
			if refuse {
				return ErrRefused
			}
			return nil
		}}
		stop := forward(t, in, target, ForwarderOptions{})
		var ids []string
		for i := range 30 {
			ids = append(ids, accept(t, in, event(runRef(i), 0, spacelift.RunStateQueued)).ID)
		}
		synctest.Wait()
		target.change(func() { refuse = false })
		for i := range 600 {
			accept(t, in, event(runRef(1000+i), 0, spacelift.RunStateQueued))
			if i%20 == 0 {
				pass(time.Second)
			}
		}
		pass(time.Minute)
		synctest.Wait()
		stop()
		for i, id := range ids {
			d, _, err := in.Get(t.Context(), id)
			if gone := errors.Is(err, ErrNotFound); gone != (i < 10) || !gone && d.Forwarding != ForwardingDead {
				t.Errorf("number %d: %+v (%v)", i, d, err)
			}
			logged := strings.Contains(log.String(), `this one will be deleted unless it is redelivered","room":"inbox","delivery":"`+id+`"`)
			if logged != (i < 10) {
				t.Errorf("number %d was logged: %t", i, logged)
			}
		}
	})
}

func TestRefusalsPushOutNothingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := small
		opts.Dir = t.TempDir()
		in := open(t, opts)
		ignored := in.Log(Delivery{Outcome: OutcomeIgnored, Reason: "unmanaged-stack"})
		accepted := accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued))
		for range 100 {
			for range 100 {
				in.Log(Delivery{Outcome: OutcomeRefused, Reason: "bad-signature", Detail: strings.Repeat("x", 5000)})
			}
			pass(time.Second)
		}
		synctest.Wait()
		if n := len(all(t, in, Filter{Outcome: OutcomeRefused}, 100)); n > 40+10 || n < 20 {
			t.Errorf("%d refused deliveries are kept, want about 40", n)
		}
		for _, id := range []string{ignored.ID, accepted.ID} {
			if _, _, err := in.Get(t.Context(), id); err != nil {
				t.Errorf("delivery %s: %v", id, err)
			}
		}
		if use := diskUse(t, opts.Dir); use > 512<<10+maxLog {
			t.Errorf("%d bytes on disk", use)
		}
		for range 500 {
			in.Log(Delivery{Outcome: OutcomeIgnored})
			pass(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := len(all(t, in, Filter{Outcome: OutcomeIgnored}, 100)); n > 80+20 || n < 60 {
			t.Errorf("%d ignored deliveries are kept, want about 80", n)
		}
	})
}
