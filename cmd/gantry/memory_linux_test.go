package main

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestOnlyUnwritablePagesOfTheProgramAreReleased(t *testing.T) {
	const maps = `00400000-01b5d000 r-xp 00000000 fe:00 10739786                           /usr/bin/gantry
01b5d000-03645000 r--p 0175d000 fe:00 10739786                           /usr/bin/gantry
03645000-037a6000 rw-p 03245000 fe:00 10739786                           /usr/bin/gantry
037a6000-03821000 rw-p 00000000 00:00 0
7f0000000000-7f0000001000 r--p 00000000 fe:00 10739787                   /usr/bin/another
7ffe81f75000-7ffe81f96000 rw-p 00000000 00:00 0                          [stack]
`
	want := []mapping{{0x400000, 0x1b5d000}, {0x1b5d000, 0x3645000}}
	if got := unwritable(strings.NewReader(maps), "/usr/bin/gantry"); !slices.Equal(got, want) {
		t.Errorf("mappings %x, want %x", got, want)
	}
}

// The program continues with the pages that it needs.
func TestReleaseStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { releaseStart(t.Context(), slog.New(slog.DiscardHandler)) })
}
