package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/gantryhq/gantry/folder"
	"github.com/gantryhq/gantry/simulator"
)

// saveEvery is the time between saves: a killed process loses as much. Accounts
// that take over a tenth of it to save are saved less often.
const saveEvery = 200 * time.Millisecond

// errTaken reports that another process writes the file of the account.
var errTaken = errors.New("another process has written it; give each simulator its own file")

// keeper keeps a simulated account in a file.
type keeper struct {
	path    string
	account *simulator.Simulator
	log     *slog.Logger

	saved [sha256.Size]byte // what is in the file
	file  fs.FileInfo       // as this process wrote it; nil if there is none
}

// keep opens the account in a file, or a new one if there is no such file. It calls
// prepare on a restored account before the simulation starts.
func keep(path string, o simulator.Options, prepare func(*simulator.Simulator) error) (k *keeper, restored bool, err error) {
	k = &keeper{path: path, log: o.Logger}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		k.account = simulator.New(o)
		return k, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("open the simulated account: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if k.file, err = f.Stat(); err != nil {
		return nil, false, fmt.Errorf("open the simulated account: %w", err)
	}
	if k.account, err = simulator.Restore(f, o, prepare); err != nil {
		return nil, false, fmt.Errorf("restore the simulated account from %s: %w; to start with a new account, move the file away", path, err)
	}
	k.log.Info("simulated account restored", "file", path, "stacks", len(k.account.Stacks()))
	return k, true, nil
}

// run saves the account now and after each change, until ctx ends. Only errTaken
// ends it earlier: a full disk may be freed.
func (k *keeper) run(ctx context.Context) error {
	for {
		changed, began := k.account.Changed(), time.Now()
		if err := k.save(); errors.Is(err, errTaken) {
			return err
		} else if err != nil {
			k.log.Error("simulated account not saved", "error", err)
		}
		pause := max(saveEvery, 10*time.Since(began))
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// save replaces the file, so that there is a complete one at any time. It does
// nothing if nothing changed.
func (k *keeper) save() error {
	var b bytes.Buffer
	if err := k.account.Save(&b); err != nil {
		return err
	}
	sum := sha256.Sum256(b.Bytes())
	if sum == k.saved {
		return nil
	}
	err := folder.Replace(k.path, b.Bytes(), 0o600, func(string) error { // it holds secrets
		if now, err := os.Stat(k.path); err == nil && (k.file == nil || !os.SameFile(now, k.file) || now.ModTime() != k.file.ModTime()) {
			return fmt.Errorf("%s: %w", k.path, errTaken)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save the simulated account: %w", err)
	}
	file, err := os.Stat(k.path)
	if err != nil {
		return fmt.Errorf("save the simulated account: %w", err)
	}
	k.file, k.saved = file, sum
	return nil
}
