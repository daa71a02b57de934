package main

import (
	"testing"
	"time"
)

// Times read the same wherever who reads them is: as the sentences beside them
// and as the flags that take one.
func TestTimesAreUTC(t *testing.T) {
	at := time.Date(2026, 1, 5, 7, 0, 0, 123456789, time.FixedZone("CET", 3600))
	if got, want := when(&at), "2026-01-05T06:00:00Z"; got != want {
		t.Errorf("printed as %s, want %s", got, want)
	}
	again, err := timeOf("since", when(&at), at, 1)
	if err != nil || !again.Equal(at.Truncate(time.Second)) {
		t.Errorf("read again as %s, %v", again, err)
	}
	if got := when(nil) + when(&time.Time{}); got != "" {
		t.Errorf("no time is printed as %s", got)
	}
}
