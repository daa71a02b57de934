package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gantryhq/gantry/simulator"
)

// account is a simulated Spacelift account on its port.
type account struct {
	simulator *simulator.Simulator
	keeper    *keeper // nil when nothing is kept
	listener  net.Listener
	handler   http.Handler // of the listener; nil for the simulator alone
}

// openAccount opens the account in a file, or a new one if there is no such file or
// no path. fresh sets a new account up; prepare adjusts a restored one.
func openAccount(path string, o simulator.Options, fresh, prepare func(*simulator.Simulator) error) (a *account, restored bool, err error) {
	a = &account{}
	if path == "" {
		a.simulator = simulator.New(o)
	} else {
		if a.keeper, restored, err = keep(path, o, prepare); err != nil {
			return nil, false, err
		}
		a.simulator = a.keeper.account
	}
	if !restored {
		err = fresh(a.simulator)
	}
	if err == nil && a.keeper != nil {
		err = a.keeper.save() // now, so that an unwritable file is an error at the start
	}
	if err != nil {
		a.simulator.Close()
		return nil, false, err
	}
	return a, restored, nil
}

// serve answers until ctx ends. It stops in an order that loses nothing: first the
// server, then the simulation, and then it saves the account.
func (a *account) serve(ctx context.Context) error {
	srv := &http.Server{Handler: cmp.Or(a.handler, http.Handler(a.simulator)), ReadHeaderTimeout: 5 * time.Second}
	run, ctx := errgroup.WithContext(ctx)
	run.Go(func() error {
		if err := srv.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the simulator: %w", err)
		}
		return nil
	})
	run.Go(func() error {
		<-ctx.Done()
		return srv.Close()
	})
	if a.keeper == nil {
		defer a.simulator.Close()
		return run.Wait()
	}
	run.Go(func() error { return a.keeper.run(ctx) })
	err := run.Wait()
	a.simulator.Close()
	if errors.Is(err, errTaken) {
		return err
	}
	return errors.Join(err, a.keeper.save())
}

func (a *account) url() string { return urlOf(a.listener.Addr()) }

func (a *account) close() {
	a.simulator.Close()
	if a.listener != nil {
		_ = a.listener.Close()
	}
}

// urlOf returns the URL at which this machine reaches the address.
func urlOf(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://127.0.0.1:%d", tcp.Port)
	}
	return "http://" + addr.String()
}
