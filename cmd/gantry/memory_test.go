package main

import "testing"

func TestCollectorLimit(t *testing.T) {
	for container, want := range map[uint64]int64{
		1 << 30:     (1 << 30) / 10 * 9,
		32 << 20:    smallestLimit,
		1<<63 - 513: 0, // "no limit" of cgroup v1
		1<<64 - 1:   0,
	} {
		if got := collectorLimit(container); got != want {
			t.Errorf("a container of %d bytes: %d, want %d", container, got, want)
		}
	}
}

func TestABurstIsOver(t *testing.T) {
	const mb = 1 << 20
	b := burst{seen: 20 * mb}
	for i, step := range []struct {
		all  uint64 // bytes allocated until then
		want bool
	}{
		{22 * mb, true}, // the start
		{23 * mb, false},
		{400 * mb, false}, // a burst
		{410 * mb, true},
		{411 * mb, false},
		{418 * mb, false}, // little, for long
		{424 * mb, false},
		{428 * mb, true},
		{430 * mb, false},
	} {
		if got := b.over(step.all); got != step.want {
			t.Errorf("step %d, after %d MB: %v, want %v", i, step.all/mb, got, step.want)
		}
	}
}
