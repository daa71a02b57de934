package server

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
)

func TestOnce(t *testing.T) {
	r := newReplayCache()
	var done atomic.Int32
	work := func() (int, error) { return int(done.Add(1)), nil }
	this := change{key: "k", content: "c"}
	for range 3 {
		if n, err := doOnce(t.Context(), r, this, work); n != 1 || err != nil {
			t.Errorf("%d, %v: want the first answer", n, err)
		}
	}
	if _, err := doOnce(t.Context(), r, change{key: "k", content: "other"}, work); !errors.Is(err, errKeyReused) {
		t.Errorf("another request under the key: %v", err)
	}
	for want := 2; want < 4; want++ {
		if n, _ := doOnce(t.Context(), r, change{}, work); n != want {
			t.Errorf("without a key: %d, want %d", n, want)
		}
	}
}

func TestOnceForgetsFailures(t *testing.T) {
	r := newReplayCache()
	this := change{key: "k", content: "c"}
	if _, err := doOnce(t.Context(), r, this, func() (int, error) { return 0, errors.New("disk full") }); err == nil {
		t.Error("the failure is lost")
	}
	if n, err := doOnce(t.Context(), r, this, func() (int, error) { return 7, nil }); n != 7 || err != nil {
		t.Errorf("%d, %v after the failure", n, err)
	}
}

// A repeat after a panic doesn't wait for an answer that never comes.
func TestOnceForgetsPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplayCache()
		this := change{key: "k", content: "c"}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			_, _ = doOnce(t.Context(), r, this, func() (int, error) { panic("bug") })
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if n, err := doOnce(ctx, r, this, func() (int, error) { return 7, nil }); n != 7 || err != nil {
			t.Errorf("%d, %v after the panic", n, err)
		}
	})
}

// Repeats that come while the first is at work wait for it, and do the work
// themselves if it fails.
func TestOnceAtTheSameTime(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newReplayCache()
			var works atomic.Int32
			proceed := make(chan struct{})
			work := func() (int, error) {
				if works.Add(1) == 1 {
					<-proceed
					if fails {
						return 0, errors.New("disk full")
					}
				}
				return int(works.Load()), nil
			}
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { _, _ = doOnce(t.Context(), r, change{key: "k", content: "c"}, work) })
			}
			synctest.Wait()
			gone, leave := context.WithCancel(t.Context())
			leave()
			if _, err := doOnce(gone, r, change{key: "k", content: "c"}, work); !errors.Is(err, context.Canceled) {
				t.Errorf("who left: %v", err)
			}
			close(proceed)
			all.Wait()
			if want := map[bool]int32{false: 1, true: 2}[fails]; works.Load() != want {
				t.Errorf("the work was done %d times, want %d", works.Load(), want)
			}
		})
	}
}

func TestOnceIsBounded(t *testing.T) {
	r := newReplayCache()
	for i := range 2 * maxReplays {
		if _, err := doOnce(t.Context(), r, change{key: strconv.Itoa(i), content: "c"}, func() (int, error) { return i, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.byKey) != maxReplays || r.oldest.Len() != maxReplays {
		t.Errorf("%d keys and %d answers are remembered", len(r.byKey), r.oldest.Len())
	}
	if n, _ := doOnce(t.Context(), r, change{key: strconv.Itoa(2*maxReplays - 1), content: "c"}, func() (int, error) { return -1, nil }); n == -1 {
		t.Error("the newest was forgotten first")
	}
}

// A caller whose name is composed in another way is the same: their repeats are repeats,
// and their streams add up.
func TestOnePersonIsOneCaller(t *testing.T) {
	const composed, parts = "Jos\u00e9", "Jose\u0301"
	first, _ := changeOf(composed, []string{"k"}, "StopRun", 1)
	if again, err := changeOf(parts, []string{"k"}, "StopRun", 1); err != nil || again != first {
		t.Errorf("the repeat is another request: %v %v %v", first, again, err)
	}
	streams := newOpenStreams(10, 1, 1)
	caller := func(name string) authority.Principal { return authority.Principal{Person: decide.Person{Name: name}} }
	done, err := streams.open(caller(composed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := streams.open(caller(parts)); err == nil || !strings.Contains(err.Error(), parts) {
		t.Errorf("a second stream: %v", err)
	}
	done()
	if _, err := streams.open(caller(parts)); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}
