package main

import (
	"os"
	"runtime"
	"testing"
)

func TestOneProcessorMoreForTheDisk(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	t.Setenv("GOMAXPROCS", "7")
	if useProcessors(); runtime.GOMAXPROCS(0) != before {
		t.Errorf("with GOMAXPROCS it is %d, want %d", runtime.GOMAXPROCS(0), before)
	}
	if err := os.Unsetenv("GOMAXPROCS"); err != nil {
		t.Fatal(err)
	}
	if useProcessors(); runtime.GOMAXPROCS(0) != before+1 {
		t.Errorf("it is %d, want %d", runtime.GOMAXPROCS(0), before+1)
	}
}
