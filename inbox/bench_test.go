//go:build unix

package inbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// sampleBody has the size of a typical notification.
var sampleBody = bytes.Repeat([]byte(`{"run":"01KDX3V4T8Q2M5N7P9R1S3T5V7"}`), 38)

// side by side, each worker does its share of n and returns the time it took.
func sideBySide(workers, n int, do func(i int)) time.Duration {
	start := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				do(i)
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// cpu is the processor time this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// flushEach is what the inbox is measured against: a write and a flush per
// event, to a plain file.
func flushEach(b *testing.B) func(record []byte) {
	f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	var mu sync.Mutex
	return func(record []byte) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := f.Write(record); err != nil {
			b.Error(err)
		}
		if err := f.Sync(); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkAccept measures accepted events per second, and in the same run how
// many times that is of one flush per event.
func BenchmarkAccept(b *testing.B) {
	for _, workers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("connections=%d", workers), func(b *testing.B) {
			dir := b.TempDir()
			in := open(b, Options{Dir: dir})
			flush := flushEach(b)
			ev := event(runRef(1), 5, spacelift.RunStateUnconfirmed)
			it, err := newItem(Delivery{Source: "192.0.2.7"}, ev, sampleBody)
			if err != nil {
				b.Fatal(err)
			}
			whole := append(bytes.Clone(it.record), sampleBody...)
			const n = 512
			var took, baseline, used time.Duration
			waits := make([]time.Duration, n)
			var all []time.Duration
			total := 0
			b.ReportAllocs()
			for b.Loop() {
				first := total
				total += n
				began := cpu(b)
				took += sideBySide(workers, n, func(i int) {
					ev, start := ev, time.Now()
					ev.Run, ev.StateVersion = runRef((first+i)/9), (first+i)%9
					if d, err := in.Accept(context.Background(), Delivery{Source: "192.0.2.7"}, ev, sampleBody); err != nil || d.Outcome != OutcomeAccepted {
						b.Errorf("%+v: %v", d, err)
					}
					waits[i-1] = time.Since(start)
				})
				used += cpu(b) - began
				all = append(all, waits...)
				baseline += sideBySide(workers, n/8, func(int) { flush(whole) }) * 8
			}
			slices.Sort(all)
			b.ReportMetric(float64(total)/took.Seconds(), "events/s")
			b.ReportMetric(float64(used.Microseconds())/float64(total), "cpu_µs/event")
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50_µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99_µs")
			b.ReportMetric(baseline.Seconds()/took.Seconds(), "x_flush_each")
			b.ReportMetric(float64(in.store.size())/float64(total), "disk_B/event")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// costlyTarget takes a fixed time for each signal, however many events it
// carries, and one signal at a time: a Temporal at its limit.
type costlyTarget struct{ mu sync.Mutex }

func (t *costlyTarget) Signal(context.Context, spacelift.RunRef, []managed.RunEvent) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for start := time.Now(); time.Since(start) < 200*time.Microsecond; {
	}
	return nil
}

// BenchmarkForward measures how fast the pending events of hot runs drain, and
// how many times that is of one signal per event.
func BenchmarkForward(b *testing.B) {
	drain := func(b *testing.B, opts ForwarderOptions, round int) time.Duration {
		in := open(b, Options{Dir: filepath.Join(b.TempDir(), strconv.Itoa(round))})
		sideBySide(64, 100*len(life), func(i int) {
			accept(b, in, event(runRef(i%100), i/100, life[(i/100)%len(life)]))
		})
		start := time.Now()
		stop := forward(b, in, &costlyTarget{}, opts)
		waitFor(b, in, func(h Health) bool { return h.Pending == 0 })
		took := time.Since(start)
		stop()
		closeInbox(b, in)
		return took
	}
	var coalesced, single time.Duration
	rounds := 0
	for b.Loop() {
		coalesced += drain(b, ForwarderOptions{}, 2*rounds)
		single += drain(b, ForwarderOptions{BatchEvents: 1}, 2*rounds+1)
		rounds++
	}
	b.ReportMetric(float64(rounds*100*len(life))/coalesced.Seconds(), "events/s")
	b.ReportMetric(single.Seconds()/coalesced.Seconds(), "x_signal_each")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkOpen measures starting with a full log.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	in := open(b, Options{Dir: dir})
	const n = 20_000
	sideBySide(64, n, func(i int) {
		ev := event(runRef(i), 0, spacelift.RunStateQueued)
		if _, err := in.Accept(context.Background(), Delivery{}, ev, sampleBody); err != nil {
			b.Error(err)
		}
	})
	closeInbox(b, in)
	for b.Loop() {
		in, err := Open(context.Background(), Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if h := in.Health(); h.Pending != n {
			b.Fatalf("%d pending", h.Pending)
		}
		if err := in.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/event")
}
