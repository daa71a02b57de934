//go:build unix

package archive

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWrite measures a row that is written as pending, and the same with its result,
// which follows with the next batch.
func BenchmarkWrite(b *testing.B) {
	for _, results := range []bool{false, true} {
		b.Run(fmt.Sprintf("results=%t", results), func(b *testing.B) {
			a := open(b, Budgets{})
			const size = 500
			n, used := int64(0), time.Duration(0)
			for b.Loop() {
				batch := Batch{Through: uint64(n)}
				for range size {
					n++
					r := row(n)
					r.Run = spacelift.RunRef{
						Account: spacelift.Account(fmt.Sprint("account-", n%3)), Stack: spacelift.StackID(fmt.Sprint("network-", n%100)), Run: spacelift.RunID(fmt.Sprintf("01KDX3V4T8Q2M5N7P%09d", n/9)),
					}
					if batch.Add(r); results && n > size {
						batch.Finish(Result{Number: (n - size) << 16, Index: uint64(n - size), Forwarding: ForwardingForwarded, Attempts: 1, ForwardedAt: n})
					}
				}
				began := cpu(b)
				if err := a.Write(b.Context(), &batch); err != nil {
					b.Fatal(err)
				}
				used += cpu(b) - began
			}
			b.ReportMetric(float64(used.Nanoseconds())/1000/float64(n), "cpu_µs/row")
			b.ReportMetric(float64(a.Size())/float64(n), "B/row")
			b.ReportMetric(0, "ns/op")
		})
	}
}
