package service

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/notify/channels"
)

// Source is the origin of a configuration, which may change while Gantry runs.
type Source struct {
	File string // empty if there is none to watch

	// Load reads the file again, with the environment and flags over it.
	Load func() (config.Config, error)

	// Now reloads immediately when it receives; nil never does.
	Now <-chan os.Signal
}

// fileInterval is the time between two checks of the file. A change counts once two
// checks have found the same content, so that a file that is being written isn't read.
const fileInterval = 2 * time.Second

// inEffect is the part of the configuration that a reload replaces.
type inEffect struct {
	definitions *policy.Definitions
	channels    *channels.Sender
	rules       *authority.Rules
}

// effectOf returns that part of a configuration, or why it can't be used.
func effectOf(c config.Config, o Options) (e inEffect, err error) {
	if e.definitions, err = c.Definitions(); err != nil {
		return inEffect{}, fmt.Errorf("configuration:\n%w", err)
	}
	if e.channels, err = OpenChannels(c.Channels, o.Version, o.Log); err != nil {
		return inEffect{}, err
	}
	if e.rules, err = c.Authority(); err != nil {
		return inEffect{}, fmt.Errorf("configuration:\n%w", err)
	}
	return e, nil
}

// reloader keeps the configuration that is in effect, and why another isn't.
type reloader struct {
	effect atomic.Pointer[inEffect]
	good   prometheus.Gauge

	mu      sync.Mutex
	config  config.Config
	since   time.Time
	problem string
	fix     string
}

// start puts the first configuration into effect.
func (r *reloader) start(c config.Config, o Options, registry prometheus.Registerer) error {
	e, err := effectOf(c, o)
	if err != nil {
		return err
	}
	r.good = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gantry_configuration_in_effect", Help: "1 while the configuration file is in effect as it is, 0 while it has mistakes or changes that need a restart.",
	})
	r.good.Set(1)
	registry.MustRegister(r.good)
	r.config = c
	r.effect.Store(&e)
	return nil
}

// definitions returns the rules over stacks that are in effect.
func (r *reloader) definitions() *policy.Definitions { return r.effect.Load().definitions }

// Send sends a message to a channel of the configuration in effect.
func (r *reloader) Send(ctx context.Context, channel string, m notify.Message) error {
	return r.effect.Load().channels.Send(ctx, channel, m)
}

// trouble reports since when the file isn't in effect, why, and what to do.
func (r *reloader) trouble() (since time.Time, problem, fix string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.since, r.problem, r.fix
}

// note keeps that the file isn't in effect, or that it is if the problem is empty.
func (r *reloader) note(problem, fix string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if problem == "" {
		r.since = time.Time{}
		r.good.Set(1)
	} else {
		r.good.Set(0)
		if r.problem == "" {
			r.since = time.Now()
		}
	}
	r.problem, r.fix = problem, fix
}

// watchFile reloads the configuration when its file has changed, or when it is asked to.
func (p *process) watchFile(ctx context.Context) error {
	var read, seen [sha256.Size]byte // the first check finds what changed since the start
	tick := time.NewTicker(fileInterval)
	defer tick.Stop()
	for {
		forced := false
		select {
		case <-ctx.Done():
			return nil
		case <-p.Source.Now:
			forced = true
		case <-tick.C:
		}
		if p.Source.File == "" && !forced {
			continue
		}
		content, err := os.ReadFile(p.Source.File) // a symbolic link may be swapped, as Kubernetes does
		sum := sha256.Sum256(content)
		if err != nil {
			sum = sha256.Sum256([]byte(err.Error()))
		}
		settled := sum == seen
		if seen = sum; forced || settled && sum != read {
			read = sum
			p.reload(ctx, forced)
		}
	}
}

// reload puts the file's configuration into effect, if all of it is right.
func (p *process) reload(ctx context.Context, forced bool) {
	r := &p.reloader
	fresh, err := p.Source.Load()
	var merged config.Config
	var restart []string
	if err == nil {
		merged, restart = r.config.Reload(fresh)
		err = merged.Validate()
	}
	var e inEffect
	if err == nil {
		e, err = effectOf(merged, p.Options)
	}
	if err != nil {
		p.Log.ErrorContext(ctx, "configuration not reloaded; the one before remains in effect", "file", p.Source.File, "error", err)
		first, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "configuration:\n"), "\n")
		r.note("the configuration file has a mistake, so the configuration before it remains in effect: "+first, "run gantry lint on "+p.Source.File+", and repair what it names")
		return
	}
	p.apply(ctx, merged, e, forced)
	if len(restart) == 0 {
		r.note("", "")
		return
	}
	p.Log.WarnContext(ctx, "changed settings need a restart", "file", p.Source.File, "settings", restart)
	r.note("these changed settings need a restart: "+strings.Join(restart, ", "), "restart this replica of Gantry")
}

// apply puts a configuration into effect, and records each setting that it changes.
func (p *process) apply(ctx context.Context, c config.Config, e inEffect, forced bool) {
	changes := config.Changes(p.reloader.config, c)
	if len(changes) == 0 && !forced {
		return
	}
	if len(changes) == 0 {
		p.Log.InfoContext(ctx, "configuration reloaded; nothing that a reload takes has changed", "file", p.Source.File)
		return
	}
	old := p.reloader.effect.Swap(&e)
	if p.surface != nil {
		p.surface.Reload(e.rules)
	}
	p.reloader.config = c
	names := make([]string, len(changes))
	for i, change := range changes {
		names[i] = change.Setting
		_ = p.audit.Record(context.WithoutCancel(ctx), audit.Entry{ // which logs what can't be written
			By: audit.Gantry, Action: audit.ActionReload, On: change.Setting, Before: change.Before, After: change.After, Result: audit.Done,
		})
	}
	if err := p.noteConfiguration(c); err != nil {
		p.Log.ErrorContext(ctx, "reload", "error", err)
	}
	p.Log.InfoContext(ctx, "configuration reloaded", "file", p.Source.File, "settings", names)
	old.channels.CloseIdleConnections()
}
