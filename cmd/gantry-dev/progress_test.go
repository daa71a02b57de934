package main

import (
	"bytes"
	"testing"
)

// A log line never continues the line that shows progress.
func TestLogsHaveLinesOfTheirOwn(t *testing.T) {
	var screen bytes.Buffer
	p := &progress{logs: &screen, out: &screen, stop: make(chan struct{})}
	screen.WriteString("starting Gantry … 1.0 s")
	if n, err := p.Write([]byte("level=INFO msg=serving\n")); n != 23 || err != nil {
		t.Errorf("it wrote %d, %v", n, err)
	}
	p.done()
	if _, err := p.Write([]byte("level=INFO msg=ready\n")); err != nil {
		t.Error(err)
	}
	want := "starting Gantry … 1.0 s" + eraseLine + "level=INFO msg=serving\n" + eraseLine + "level=INFO msg=ready\n"
	if screen.String() != want {
		t.Errorf("the terminal received %q, want %q", screen.String(), want)
	}
}
