package config

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// Reloadable lists the settings that a running Gantry takes from a changed file. The
// others need a restart.
var Reloadable = []string{"tokens", "bindings", "people", "channels", "windows", "profiles", "defaultProfile", "rules", "labels", "logs"}

// Reload returns the configuration with the reloadable settings of another one, and names
// the other settings in which the two differ.
func (c Config) Reload(fresh Config) (merged Config, restart []string) {
	merged = c
	to, from := reflect.ValueOf(&merged).Elem(), reflect.ValueOf(fresh)
	for f := range to.Type().Fields() {
		if slices.Contains(Reloadable, f.Tag.Get("setting")) {
			to.FieldByIndex(f.Index).Set(from.FieldByIndex(f.Index))
		}
	}
	for _, change := range Changes(merged, fresh) {
		restart = append(restart, change.Setting)
	}
	return merged, restart
}

// Change is a setting with another value. A secret's values say only whether there is
// one.
type Change struct{ Setting, Before, After string }

// Changes compares two configurations. Entries of lists are compared by their names, if
// they have some.
func Changes(before, after Config) (all []Change) {
	old, fresh := before.named(), after.named()
	names := slices.Collect(maps.Keys(fresh))
	for name := range old {
		if _, ok := fresh[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(slices.Values(names)) {
		a, b := old[name], fresh[name]
		if a == b {
			continue
		}
		change := Change{name, a.shown, b.shown}
		if a.shown == b.shown { // a secret
			change.After = "(another)"
		}
		all = append(all, change)
	}
	return all
}

// value is the text of a value, and what may be shown of it.
type value struct{ text, shown string }

// named returns every set value by name, where lists name their entries.
func (c Config) named() map[string]value {
	all := map[string]value{}
	for f, v := range reflect.ValueOf(c).Fields() {
		name := f.Tag.Get("setting")
		if f.Type.Kind() != reflect.Slice || f.Type.Elem().Kind() != reflect.Struct {
			collect(all, name, v, f.Tag.Get("secret") != "")
			continue
		}
		for i := range v.Len() {
			entry := strconv.Itoa(i)
			if n := v.Index(i).FieldByName("Name"); n.IsValid() {
				entry = cmp.Or(n.String(), entry)
			}
			collect(all, name+"["+entry+"]", v.Index(i), false)
		}
	}
	return all
}

func collect(all map[string]value, name string, v reflect.Value, secret bool) {
	raw, shown := nonZero(name, v, secret, true), nonZero(name, v, secret, false)
	for i, line := range raw {
		all[line[0]] = value{line[1], shown[i][1]}
	}
}

// Values returns every value that is set, by its name. In place of a secret it says only
// that there is one.
func (c Config) Values() map[string]string {
	all := map[string]string{}
	for name, v := range c.named() {
		all[name] = v.shown
	}
	return all
}
