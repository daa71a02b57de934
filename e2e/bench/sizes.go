package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// sizes measures the start of the lab and the size of the product.
func (b *bench) sizes(ctx context.Context) error {
	info, err := os.Stat(b.gantry)
	if err != nil {
		return err
	}
	fmt.Printf("production binary        %.1f MB (target < 60 MB: %s)\n", float64(info.Size())/1e6, verdict(info.Size() < 60e6))
	var starts []time.Duration
	for range b.rounds {
		took, err := labStart(ctx, b.lab)
		if err != nil {
			return err
		}
		starts = append(starts, took)
	}
	slices.Sort(starts)
	start := starts[len(starts)/2]
	fmt.Printf("lab, process to ready    %s (target < 3 s: %s)\n", start.Round(10*time.Millisecond), verdict(start < 3*time.Second))
	return nil
}

// labStart measures from the start of the lab's process to its welcome.
func labStart(ctx context.Context, lab string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, lab, "--port", "0", "--ops-port", "0", "--simulator-port", "0", "--temporal-port", "0", "--temporal-ui-port", "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // its error is that of the signal
	}()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "lab is ready") {
			return time.Since(began), nil
		}
	}
	return 0, errors.New("the lab ended before it was ready")
}
