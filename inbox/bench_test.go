//go:build unix

package inbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/repeats"
	"github.com/gantryhq/gantry/spacelift"
)

// sampleBody has the size of a typical notification.
var sampleBody = bytes.Repeat([]byte(`{"run":"01KDX3V4T8Q2M5N7P9R1S3T5V7"}`), 30)

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

// resident is the process's memory in MB.
func resident(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return float64(kb) / 1024
		}
	}
	return 0
}

// flushEach is the baseline of the inbox: a write and a flush per
// event, to a file that has its size already.
func flushEach(b *testing.B) func(record []byte) {
	path := filepath.Join(b.TempDir(), "plain")
	const size = 32 << 20
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_DSYNC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	var mu sync.Mutex
	at := int64(0)
	return func(record []byte) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := f.WriteAt(record, at); err != nil {
			b.Error(err)
		}
		at = (at + int64(len(record))) % (size - 1<<20)
	}
}

// BenchmarkAccept measures accepted events per second, and in the same run how
// many times that is of one flush per event.
func BenchmarkAccept(b *testing.B) {
	for _, workers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("connections=%d", workers), func(b *testing.B) {
			dir := b.TempDir()
			in, err := Open(b.Context(), Options{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { closeInbox(b, in) })
			flush := flushEach(b)
			whole := bytes.Repeat([]byte("x"), len(sampleBody)+150)
			const n = 2048
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
					start := time.Now()
					d := notice(runRef((first+i)/9), (first+i)%9, life[(first+i)%9])
					if d, err := in.Accept(context.Background(), d, sampleBody); err != nil || d.Outcome != archive.OutcomeAccepted {
						b.Errorf("%+v: %v", d, err)
					}
					waits[i-1] = time.Since(start)
				})
				used += cpu(b) - began
				all = append(all, waits...)
				baseline += sideBySide(workers, n/16, func(int) { flush(whole) }) * 16
			}
			slices.Sort(all)
			b.ReportMetric(float64(total)/took.Seconds(), "events/s")
			b.ReportMetric(float64(used.Microseconds())/float64(total), "cpu_µs/event")
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50_µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99_µs")
			b.ReportMetric(baseline.Seconds()/took.Seconds(), "x_flush_each")
			b.ReportMetric(float64(diskUse(b, dir))/float64(total), "disk_B/event")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkMillion measures the memory after a million events, with a target that
// takes them and without one.
func BenchmarkMillion(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("GANTRY_MILLION"))
	if err != nil {
		b.Skip("GANTRY_MILLION is the number of events")
	}
	for _, up := range []bool{false, true} {
		b.Run(fmt.Sprintf("up=%t", up), func(b *testing.B) {
			for b.Loop() {
				dir := b.TempDir()
				in, err := Open(b.Context(), Options{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				runtime.GC()
				before := resident(b)
				if up {
					forward(b, in, nothing{}, ForwarderOptions{})
				}
				took := sideBySide(32, n, func(i int) {
					if _, err := in.Accept(context.Background(), notice(runRef(i%1500), i/1500, life[i/1500%9]), sampleBody); err != nil {
						b.Error(err)
					}
				})
				if up {
					waitFor(b, in, func(h Health) bool { return h.Pending == 0 })
				}
				b.ReportMetric(float64(n)/took.Seconds(), "events/s")
				b.ReportMetric(before, "MB_before")
				b.ReportMetric(resident(b), "MB_after")
				b.ReportMetric(float64(diskUse(b, dir))/float64(n), "disk_B/event")
				began := time.Now()
				for range 20 {
					if _, _, err := in.List(b.Context(), archive.Filter{Run: runRef(n % 1500).Run}, 50, ""); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(time.Since(began).Microseconds())/20/1000, "ms/page")
				closeInbox(b, in)
				began = time.Now()
				if in, err = Open(b.Context(), Options{Dir: dir}); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(time.Since(began).Seconds(), "s/open")
				closeInbox(b, in)
			}
		})
	}
}

// BenchmarkViewers measures what eight people who list without a pause cost the
// events, and how long their pages take, over 88,000 events.
func BenchmarkViewers(b *testing.B) {
	in, err := Open(b.Context(), Options{Dir: b.TempDir(), Archive: archive.Budgets{Entries: archive.Budget{Count: 88_000}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeInbox(b, in) })
	forward(b, in, nothing{}, ForwarderOptions{})
	next := 0
	send := func(n int) time.Duration {
		first := next
		next += n
		return sideBySide(16, n, func(i int) {
			if _, err := in.Accept(context.Background(), notice(runRef((first+i)/9), (first+i)%9, life[(first+i)%9]), sampleBody); err != nil {
				b.Error(err)
			}
		})
	}
	send(88_000)
	in.allow(1 << 30)
	if err := in.follow(b.Context()); err != nil {
		b.Fatal(err)
	}
	list := func(i int) time.Duration {
		began := time.Now()
		if _, _, err := in.List(b.Context(), archive.Filter{Run: runRef(i % 9000).Run}, 50, ""); err != nil {
			b.Error(err)
		}
		return time.Since(began)
	}
	var alone, among time.Duration
	var idle, busy []time.Duration
	for b.Loop() {
		for i := range 50 {
			idle = append(idle, list(i))
		}
		const n = 20_000
		alone += send(n)
		var viewers sync.WaitGroup
		stop := make(chan struct{})
		waits := make([][]time.Duration, 8)
		for v := range waits {
			viewers.Go(func() {
				for i := v; ; i += 7 {
					select {
					case <-stop:
						return
					default:
						waits[v] = append(waits[v], list(i))
					}
				}
			})
		}
		among += send(n)
		close(stop)
		viewers.Wait()
		busy = append(busy, slices.Concat(waits...)...)
	}
	slices.Sort(idle)
	slices.Sort(busy)
	b.ReportMetric(alone.Seconds()/among.Seconds(), "x_rate_with_viewers")
	b.ReportMetric(float64(idle[len(idle)/2].Microseconds())/1000, "idle_ms/page")
	b.ReportMetric(float64(idle[len(idle)*99/100].Microseconds())/1000, "idle_p99_ms/page")
	b.ReportMetric(float64(busy[len(busy)/2].Microseconds())/1000, "busy_ms/page")
	b.ReportMetric(0, "ns/op")
}

type nothing struct{}

func (nothing) Signal(context.Context, spacelift.RunRef, []managed.RunEvent) error { return nil }

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
			accept(b, in, notice(runRef(i%100), i/100, life[(i/100)%len(life)]))
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

// diskUse is the sum of all files below dir, as the disk has them.
func diskUse(t testing.TB, dir string) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
	}
	return n
}

// BenchmarkWindow measures an event that pushes another out of a full window.
func BenchmarkWindow(b *testing.B) {
	w := repeats.New(50_000)
	for i := range 50_000 {
		w.Add(repeats.KeyOf(runRef(i), spacelift.RunStateQueued, 0), int64(i+1))
	}
	keys := make([]repeats.Key, 1<<16)
	for i := range keys {
		keys[i] = repeats.KeyOf(runRef(i), spacelift.RunStateReady, 1)
	}
	n := int64(50_000)
	for b.Loop() {
		n++
		k := keys[n&(1<<16-1)] ^ repeats.Key(n)<<20
		if _, known := w.Number(k); !known {
			w.Add(k, n)
		}
	}
}
