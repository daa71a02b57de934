package schedules

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
)

// suffer lets a mishap happen at its time. It returns when the mishap is over, at
// the end of the storm within moments.
func (b *Batch) suffer(storm context.Context, m script.Mishap) {
	if !sleep(storm, time.Until(b.begin.Add(m.At))) || m.Kind == script.Clock && b.options.Programs.Clock == "" {
		return
	}
	detail := ""
	if m.Fault != nil {
		detail = fmt.Sprintf("%s %s after=%t p=%.2f", m.Fault.Kind, m.Fault.Field, m.Fault.After, m.Fault.Probability)
	}
	b.History.Add(history.Record{Mishap: &history.Mishap{Kind: m.Kind, On: true, Target: m.Target, Detail: detail, Ahead: m.Ahead}})
	if err := b.happen(storm, m); err != nil {
		detail = err.Error()
	}
	b.History.Add(history.Record{Mishap: &history.Mishap{Kind: m.Kind, Target: m.Target, Detail: detail, Ahead: m.Ahead}})
}

func (b *Batch) happen(storm context.Context, m script.Mishap) error {
	over := func() { sleep(storm, m.For) }
	// A program that was ended is started whether or not the storm is over.
	after := context.WithoutCancel(storm)
	switch m.Kind {
	case script.Kill:
		p := b.process(m.Target)
		p.Kill()
		over()
		return p.Start(after)
	case script.Terminate:
		p := b.process(m.Target)
		p.Stop()
		over()
		return p.Start(after)
	case script.Pause:
		p := b.process(m.Target)
		p.Pause()
		over()
		p.Continue()
	case script.Stutter:
		slow, cancel := context.WithTimeout(storm, m.For)
		defer cancel()
		b.process(m.Target).Stutter(slow, 20*time.Millisecond)
	case script.DiskFull:
		p := b.process(m.Target)
		err := p.FillDisk(4096)
		over()
		if err == nil {
			err = p.FillDisk(-1) // a process that was started meanwhile has no limit
		}
		return err
	case script.Clock:
		g := b.gantry(m.Target)
		err := b.restart(after, g, m.Ahead)
		over()
		return errors.Join(err, b.restart(after, g, 0))
	case script.API:
		id, err := b.Spacelift.InjectAPI(*m.Fault)
		if err != nil {
			return err
		}
		over()
		b.Spacelift.ClearFaults(id)
	case script.APICut:
		b.Spacelift.Cut(m.P)
		over()
		b.Spacelift.Cut(0)
	case script.APIStale:
		b.Spacelift.Lag(m.P)
		over()
		b.Spacelift.Lag(0)
	default:
		return b.happenOnce(after, m, over)
	}
	return nil
}

// happenOnce is happen for the mishaps that a storm has at most a few of.
func (b *Batch) happenOnce(ctx context.Context, m script.Mishap, over func()) error {
	switch m.Kind {
	case script.TokensOver:
		b.Spacelift.RevokeTokens()
	case script.WebhookFails:
		weather := usual
		weather.Refuse = 1 - weather.Drop - weather.Double - weather.Delay - weather.Reorder - weather.Cut - weather.Forge
		b.Balancer.SetWeather(weather)
		over()
		b.Balancer.SetWeather(usual)
	case script.Rotate:
		return b.RotateSecret()
	case script.Reconfigure:
		return b.Reconfigure(ctx, b.otherSetup())
	case script.Reload:
		return b.Reload(ctx, b.otherSetup())
	case script.ReceiverDown:
		b.Receiver.Fail(true)
		over()
		b.Receiver.Fail(false)
	default:
		return fmt.Errorf("there is no mishap %q", m.Kind)
	}
	return nil
}

// otherSetup returns the configuration that the processes don't have.
func (b *Batch) otherSetup() history.Setup {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = !b.changed
	return script.Setup(b.begin, b.options.Storm, b.changed)
}

// restart starts a process again with a clock that is ahead.
func (b *Batch) restart(ctx context.Context, g *rig.Gantry, ahead time.Duration) error {
	g.SetClock(ahead)
	g.Stop()
	return g.Start(ctx)
}

func (b *Batch) gantry(name string) *rig.Gantry {
	for _, g := range b.Gantries() {
		if g.Name == name {
			return g
		}
	}
	panic("no process of Gantry is called " + strconv.Quote(name))
}

func (b *Batch) process(name string) *rig.Process {
	for _, p := range b.Processes() {
		if p.Name == name {
			return p
		}
	}
	panic("no process is called " + strconv.Quote(name))
}

// sleep waits for d, and reports false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
