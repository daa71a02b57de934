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
