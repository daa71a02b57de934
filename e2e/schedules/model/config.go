package model

import (
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// Config is the part of Gantry's configuration that its policy depends on
// (docs/reference/configuration.md).
type Config history.Setup

func (c Config) profile(name string) (history.Profile, bool) {
	i := slices.IndexFunc(c.Profiles, func(p history.Profile) bool { return p.Name == name })
	if i < 0 {
		return history.Profile{}, false
	}
	return c.Profiles[i], true
}

func (c Config) window(name string) (history.Window, bool) {
	i := slices.IndexFunc(c.Windows, func(w history.Window) bool { return w.Name == name })
	if i < 0 {
		return history.Window{}, false
	}
	return c.Windows[i], true
}

// Open reports whether all windows of the policy are open: within allow, or always
// if there is none, but never within deny (docs/how-to/windows-and-freezes.md).
func (c Config) Open(p Policy, at time.Time) bool {
	for _, name := range p.Windows {
		w, found := c.window(name)
		if !found || (len(w.Allow) > 0 && !within(w.Allow, at)) || within(w.Deny, at) {
			return false
		}
	}
	return true
}

func within(periods []history.Period, at time.Time) bool {
	return slices.ContainsFunc(periods, func(p history.Period) bool { return !at.Before(p.Start) && at.Before(p.End) })
}

func (c Config) hasChannel(name string) bool {
	return slices.ContainsFunc(c.Channels, func(n string) bool { return bare(n) == bare(name) })
}

// bare is the name of a channel without the # that people write before it.
func bare(channel string) string { return strings.TrimPrefix(channel, "#") }

// Token returns the bearer of the token of that name.
func (c Config) Token(name string) (history.Person, bool) {
	i := slices.IndexFunc(c.People, func(p history.Person) bool { return p.Name == name })
	if i < 0 {
		return history.Person{}, false
	}
	return c.People[i], true
}

// Who returns one name for all names of a person. Case doesn't matter.
func (c Config) Who(name string) string {
	for _, p := range c.People {
		for _, n := range append([]string{p.Name, p.Person}, p.Aliases...) {
			if n != "" && strings.EqualFold(n, name) {
				if p.Person != "" {
					return strings.ToLower(p.Person)
				}
				return strings.ToLower(p.Name)
			}
		}
	}
	return strings.ToLower(name)
}
