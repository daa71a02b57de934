package config

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// envPrefix starts the names of our environment variables.
const envPrefix = "GANTRY_"

// Loaded is a configuration and where each value came from.
type Loaded struct {
	Config

	// Origins is by setting, such as "inbox.linger": default, a file's name, a
	// variable or a flag. What of a list came from elsewhere than the rest of it
	// is there too, such as "accounts[0].name".
	Origins map[string]string
}

// Validate is Config's, and names settings as they were given.
func (l Loaded) Validate() error { return l.validate(false, l.Origins) }

// ValidateShared is Validate for a file that leaves accounts to the environment
// of each place.
func (l Loaded) ValidateShared() error { return l.validate(true, l.Origins) }

// Load reads the file (none if empty), then the environment, then flags given
// as setting → value. It does not validate. Settings nobody knows are errors:
// a misspelt one must not pass in silence.
func Load(file string, environ []string, flags map[string]string) (Loaded, error) {
	k := koanf.New(".")
	origins := map[string]string{}
	for _, s := range settings(reflect.TypeFor[Config](), "") {
		origins[s.Name] = "default"
	}
	layer := func(values map[string]any, origin func(setting string) string) error {
		if err := k.Load(confmap.Provider(values, "."), nil); err != nil {
			return err
		}
		flat := koanf.New(".")
		if err := flat.Load(confmap.Provider(values, "."), nil); err != nil {
			return err
		}
		for _, key := range flat.Keys() {
			origins[key] = origin(key)
		}
		return nil
	}
	if file != "" {
		values, err := readFile(file)
		if err != nil {
			return Loaded{}, err
		}
		if err := layer(values, func(string) string { return file }); err != nil {
			return Loaded{}, fmt.Errorf("configuration file %s: %w", file, err)
		}
	}
	values, variables, err := fromEnvironment(environ)
	if err != nil {
		return Loaded{}, err
	}
	if err := layer(values, func(s string) string { return variables[s] }); err != nil {
		return Loaded{}, fmt.Errorf("environment: %w", err)
	}
	given := map[string]any{}
	for setting, value := range flags {
		given[setting] = value
	}
	if err := layer(given, func(s string) string { return "--" + Setting{Variable: variable(s)}.Flag() }); err != nil {
		return Loaded{}, fmt.Errorf("flags: %w", err)
	}

	c := Default()
	if err := decode(k, &c); err != nil {
		return Loaded{}, err
	}
	for i, channel := range c.Guardian.Notify {
		c.Guardian.Notify[i] = strings.TrimPrefix(channel, "#")
	}
	account, variables, err := accountFromEnvironment(environ)
	if err != nil {
		return Loaded{}, err
	}
	if account.Name != "" {
		c.Accounts = slices.DeleteFunc(c.Accounts, func(a Account) bool { return a.Name == account.Name })
		for setting, origin := range variables {
			origins[accountSetting(len(c.Accounts), setting)] = origin
		}
		c.Accounts = append(c.Accounts, account)
	}
	return Loaded{c, origins}, nil
}

func readFile(file string) (map[string]any, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	values, err := yaml.Parser().Unmarshal(content)
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", file, err)
	}
	return values, nil
}

func decode(k *koanf.Koanf, c *Config) error {
	err := k.UnmarshalWithConf("", c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: c, TagName: "koanf", ErrorUnused: true, WeaklyTypedInput: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.TextUnmarshallerHookFunc(), dateToString,
		),
		MatchName: func(key, field string) bool { return key == field },
	}})
	if err != nil {
		return fmt.Errorf("configuration: %w; docs/reference/configuration.md lists the settings", err)
	}
	return nil
}

// dateToString undoes what YAML makes of a date without quotes.
func dateToString(from, to reflect.Type, value any) (any, error) {
	if date, ok := value.(time.Time); ok && to.Kind() == reflect.String && from == reflect.TypeFor[time.Time]() {
		return date.Format("2006-01-02"), nil
	}
	return value, nil
}

// Setting is one thing that can be configured.
type Setting struct {
	Name     string // in the file, such as "inbox.linger"
	Variable string // in the environment; empty for what only a file can say
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
		name := prefix + f.Tag.Get("koanf")
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

// values renders every scalar setting of a configuration.
func values(v reflect.Value, prefix string) map[string]string {
	all := map[string]string{}
	for i := range v.NumField() {
		f, name := v.Field(i), prefix+v.Type().Field(i).Tag.Get("koanf")
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

// words renders a list of strings.
func words(list reflect.Value) string {
	all := make([]string, list.Len())
	for i := range all {
		all[i] = list.Index(i).String()
	}
	return strings.Join(all, ", ")
}

// variable spells a setting's name as an environment variable.
func variable(setting string) string {
	var b strings.Builder
	b.WriteString(envPrefix)
	for _, r := range setting {
		switch {
		case r == '.':
			b.WriteByte('_')
		case unicode.IsUpper(r):
			b.WriteByte('_')
			b.WriteRune(r)
		default:
			b.WriteRune(unicode.ToUpper(r))
		}
	}
	return b.String()
}

// otherVariables are those that other commands read.
var otherVariables = []string{"GANTRY_CONFIG", "GANTRY_URL", "GANTRY_TOKEN", "GANTRY_TOKEN_FILE"}

func fromEnvironment(environ []string) (values map[string]any, variables map[string]string, err error) {
	values, variables = map[string]any{}, map[string]string{}
	known := map[string]string{}
	for _, s := range settings(reflect.TypeFor[Config](), "") {
		if s.Variable != "" {
			known[s.Variable] = s.Name
		}
	}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(otherVariables, name) || describesAccount(name) {
			continue
		}
		setting, ok := known[name]
		if !ok {
			return nil, nil, fmt.Errorf("environment: there is no setting %s; docs/reference/configuration.md lists them", name)
		}
		values[setting], variables[setting] = value, name
	}
	return values, variables, nil
}

// Flag is the setting's flag without its dashes; empty for what only a file
// can say.
func (s Setting) Flag() string {
	if s.Variable == "" {
		return ""
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(s.Variable, envPrefix)), "_", "-")
}
