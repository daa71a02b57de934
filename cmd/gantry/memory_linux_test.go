package main

import (
	"bytes"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestOnlyUnwritablePagesOfTheProgramAreReleased(t *testing.T) {
	const maps = `00400000-01b5d000 r-xp 00000000 fe:00 10739786                           /usr/bin/gantry
01b5d000-03645000 r--p 0175d000 fe:00 10739786                           /usr/bin/gantry
03645000-037a6000 rw-p 03245000 fe:00 10739786                           /usr/bin/gantry
037a6000-03821000 rw-p 00000000 00:00 0
7f0000000000-7f0000001000 r--p 00000000 fe:00 10739787                   /usr/bin/another
7ffe81f75000-7ffe81f96000 rw-p 00000000 00:00 0                          [stack]
`
	want := mappings{{0x400000, 0x1b5d000}, {0x1b5d000, 0x3645000}}
	if got := unwritable(strings.NewReader(maps), "/usr/bin/gantry"); !slices.Equal(got, want) {
		t.Errorf("mappings %x, want %x", got, want)
	}
}

// After each burst of work the program gives back what it used, and continues. What it
// still used at the first opportunity is given back at the next.
func TestMemoryOfABurstIsGivenBack(t *testing.T) {
	const used = 256 << 20
	synctest.Test(t, func(t *testing.T) {
		go giveBackMemory(t.Context(), slog.New(slog.DiscardHandler))
		synctest.Wait() // the memory of the start
		for range 2 {
			burst := bytes.Repeat([]byte{1}, used)
			during := resident(t)
			<-time.After(givenEvery + time.Second)
			runtime.KeepAlive(burst) // it was in use when memory was given back
			<-time.After(givenEvery)
			if after := resident(t); after > during-used/2 {
				t.Errorf("%d bytes resident after a burst, %d during it", after, during)
			}
		}
	})
}

// The pages of the program's file are given back even if the program allocates nothing.
func TestPagesOfTheProgramAreGivenBack(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	synctest.Test(t, func(t *testing.T) {
		go giveBackMemory(t.Context(), log)
		<-time.After(time.Second)
		for _, m := range programFile(log) {
			if _, _, failed := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_POPULATE_READ); failed != 0 {
				t.Skip("the kernel can't read pages ahead:", failed)
			}
		}
		during := resident(t)
		<-time.After(givenEvery)
		if after := resident(t); after > during-8<<20 {
			t.Errorf("%d bytes resident, %d with the whole file", after, during)
		}
	})
}

// resident returns the resident memory of the test in bytes.
func resident(t *testing.T) int {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
