package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.temporal.io/sdk/contrib/envconfig"

	"github.com/gantryhq/gantry/decide/policy"
)

// Loaded is a configuration with the origin of each value.
type Loaded struct {
	Config

	// Origins maps a setting, such as "inbox.linger", to its origin: default, a file's
	// name, a variable or a flag. A setting within a list, such as "accounts[0].name",
	// is in it only if its origin isn't that of the list.
	Origins map[string]string

	file      string
	positions map[string]position // of settings in the file
	unread    []error             // mistakes of reading
	unusable  bool                // nothing of the file could be read

	temporal    envconfig.ClientConfigProfile // of temporal.toml and TEMPORAL_* variables
	temporalErr error
}

// originDefault is the origin of values that nothing gives.
const originDefault = "default"

// Load reads the file (none if empty), then the environment, then the flags, given
// as setting → value, and checks the result. Its error joins every mistake, each with
// its place and its remedy; the configuration is then read as far as it can be.
func Load(file string, environ []string, flags map[string]string) (Loaded, error) {
	loaded := read(file, environ, flags)
	return loaded, loaded.mistakes(false)
}

// LoadShared is Load for a file that leaves the accounts to the environment of each
// process.
func LoadShared(file string, environ []string) (Loaded, error) {
	loaded := read(file, environ, nil)
	return loaded, loaded.mistakes(true)
}

// read reads a configuration without checking it, and keeps the mistakes.
func read(file string, environ []string, flags map[string]string) Loaded {
	loaded := Loaded{Config: Default(), Origins: map[string]string{}, file: file, positions: map[string]position{}}
	for _, s := range settings(reflect.TypeFor[Config](), "") {
		loaded.Origins[s.Name] = originDefault
	}
	loaded.readTemporal(environ)
	if file != "" {
		loaded.unread = loaded.readFile(file)
		loaded.unusable = slices.ContainsFunc(loaded.unread, aboutTheFile)
	}
	variables, problems := fromEnvironment(environ)
	loaded.unread = append(loaded.unread, problems...)
	loaded.set(variables, variable)
	loaded.set(flags, func(s string) string { return "--" + flagOf(variable(s)) })
	for i, channel := range loaded.Guardian.Notify {
		loaded.Guardian.Notify[i] = strings.TrimPrefix(channel, "#")
	}
	account, problems := accountFromEnvironment(environ)
	loaded.unread = append(loaded.unread, problems...)
	loaded.addAccount(account)
	return loaded
}

// addAccount merges an account of the environment into the file's account of that
// name, or adds it.
func (l *Loaded) addAccount(given givenAccount) {
	name := given.values["name"]
	if name == nil {
		return
	}
	i := slices.IndexFunc(l.Accounts, func(a Account) bool { return a.Name == name[0] })
	if i < 0 {
		i = len(l.Accounts)
		l.Accounts = append(l.Accounts, Account{})
	} else {
		delete(given.origins, "name") // the file's
	}
	given.mergeInto(&l.Accounts[i])
	for setting, origin := range given.origins {
		l.Origins[accountSetting(i, setting)] = origin
	}
}

// set replaces values of the configuration, by setting. nameOf returns the name by
// which the operator gave a setting.
func (l *Loaded) set(values map[string]string, nameOf func(setting string) string) {
	for _, setting := range slices.Sorted(maps.Keys(values)) {
		field, known := reflect.ValueOf(&l.Config).Elem(), true
		for name := range strings.SplitSeq(setting, ".") {
			if field, known = fieldOf(field, name); !known {
				break
			}
		}
		err := fmt.Errorf("there is no setting %s; docs/reference/configuration.md lists all", setting)
		if known {
			err = setText(field, values[setting])
		}
		if err != nil {
			l.unread = append(l.unread, &located{Mistake: &policy.Mistake{Setting: setting, Problem: err.Error()}, place: nameOf(setting)})
			continue
		}
		l.Origins[setting] = nameOf(setting)
	}
}

// Setting is one setting.
type Setting struct {
	Name     string // in the file, such as "inbox.linger"
	Variable string // in the environment; empty if only a file can give it
	Default  string
	Doc      string
}

// Settings lists every setting, in the order of Config.
func Settings() []Setting {
	all := settings(reflect.TypeFor[Config](), "")
	defaults := values(reflect.ValueOf(Default()), "")
	for i := range all {
		all[i].Default = defaults[all[i].Name]
	}
	return all
}

func settings(t reflect.Type, prefix string) (all []Setting) {
	for f := range t.Fields() {
		name := prefix + f.Tag.Get("setting")
		switch {
		case f.Type.Kind() == reflect.Struct:
			all = append(all, settings(f.Type, name+".")...)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			all = append(all, Setting{Name: name, Doc: f.Tag.Get("doc")})
			for _, s := range settings(f.Type.Elem(), name+"[].") {
				s.Variable = ""
				all = append(all, s)
			}
		default:
			all = append(all, Setting{Name: name, Variable: variable(name), Doc: f.Tag.Get("doc")})
		}
	}
	return all
}

// values returns the text of every scalar setting of a configuration.
func values(v reflect.Value, prefix string) map[string]string {
	all := map[string]string{}
	for i := range v.NumField() {
		f, name := v.Field(i), prefix+v.Type().Field(i).Tag.Get("setting")
		switch {
		case f.Kind() == reflect.Struct:
			maps.Copy(all, values(f, name+"."))
		case f.Kind() != reflect.Slice:
			all[name] = fmt.Sprint(f.Interface())
		case f.Type().Elem().Kind() == reflect.String:
			all[name] = words(f)
		}
	}
	return all
}

// words returns the text of a list of strings.
func words(list reflect.Value) string {
	all := make([]string, list.Len())
	for i := range all {
		all[i] = list.Index(i).String()
	}
	return strings.Join(all, ", ")
}

// Flag returns the setting's flag without its dashes, or "" if only a file can give
// it.
func (s Setting) Flag() string {
	if s.Variable == "" {
		return ""
	}
	return flagOf(s.Variable)
}

func flagOf(variable string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, envPrefix)), "_", "-")
}
