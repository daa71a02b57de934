package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/temporalserver"
)

// politeness is the lowest priority. In production Temporal runs on other
// machines; here it gets the processor time that the measured server leaves.
const politeness = 19

// serveTemporal runs a Temporal server in a process of its own.
func serveTemporal(ctx context.Context, port string) error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, politeness); err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s, err := temporalserver.Start(ctx, temporalserver.Options{FrontendPort: n, SearchAttributes: temporalserver.Keywords(managed.SearchAttributes()...)})
	if err != nil {
		return err
	}
	<-ctx.Done()
	s.Stop()
	return nil
}

// startTemporal starts one and waits until it accepts connections.
func startTemporal(ctx context.Context) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	p, err := runProgram(ctx, nil, self, "-temporal", port)
	if err != nil {
		return nil, err
	}
	p.address = address
	return p, p.until(ctx, func() error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// until polls for a server in another process, which can't notify us.
func (p *program) until(ctx context.Context, ready func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			p.stop()
			return fmt.Errorf("%s is not ready: %w: %s", p.cmd.Path, err, p.said())
		case <-tick.C:
		}
	}
}
