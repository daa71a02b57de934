package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gantryhq/gantry/decide/policy"
)

// file reads a configuration file. It takes every value as the text in the file:
// without quotes, YAML would turn 00012345, 09:00 or no into something else.
type file struct {
	name      string
	origins   map[string]string
	positions map[string]position
	problems  []error
}

// readFile reads a file over the values that the configuration has. Each problem names
// its position and the setting, and never the value of a secret.
func (l *Loaded) readFile(name string) []error {
	content, err := os.ReadFile(name)
	if err != nil {
		return []error{fmt.Errorf("read configuration file: %w", err)}
	}
	f := &file{name: name, origins: l.Origins, positions: l.positions}
	document, err := parse(content)
	switch {
	case err != nil:
		return []error{fmt.Errorf("%s: %w", name, err)}
	case document == nil:
		return nil
	}
	f.value(document, reflect.ValueOf(&l.Config).Elem(), "")
	return f.problems
}

// parse returns the one document of a file, or nil if the file is empty.
func parse(content []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, another yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		if strings.Contains(err.Error(), "unknown anchor") { // its name may be a secret
			err = errors.New("a value begins with * but is no alias of an anchor (&); write it in quotes if it is text")
		}
		return nil, err
	}
	if err := decoder.Decode(&another); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one YAML document; keep one, without a line of --- in it")
	}
	// This refuses aliases without end. It reports duplicate keys too, but without
	// their columns; section does it better.
	var all any
	if err := document.Decode(&all); err != nil {
		if _, types := errors.AsType[*yaml.TypeError](err); !types {
			return nil, err
		}
	}
	return document.Content[0], nil
}

func (f *file) bad(n *yaml.Node, setting, format string, args ...any) {
	at := positionOf(f.name, n)
	f.problems = append(f.problems, &located{&policy.Mistake{Setting: setting, Problem: fmt.Sprintf(format, args...)}, at.String() + ": " + cmp.Or(setting, "the file"), at})
}

// value reads a node into the value of a setting.
func (f *file) value(n *yaml.Node, v reflect.Value, setting string) {
	f.positions[setting] = positionOf(f.name, n)
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	isText := n.Kind == yaml.ScalarNode
	nothing := isText && n.ShortTag() == "!!null"
	switch {
	case v.Kind() == reflect.Struct && nothing: // a section without lines
	case v.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		f.section(n, v, setting)
	case v.Kind() == reflect.Struct:
		f.bad(n, setting, "it needs settings, such as name: value, each on its own line")
	case v.Kind() == reflect.Slice && nothing: // a list without entries
		f.from(setting)
	case v.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		f.list(n, v, setting)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		f.bad(n, setting, "it needs a list; begin each entry with a dash")
	case nothing:
		f.bad(n, setting, "it has no value; write one, in quotes if it is the text %q, or remove the line", n.Value)
	case !isText:
		f.bad(n, setting, "it needs one value; write it in quotes if it is text")
	default:
		f.text(n, v, setting)
	}
}

// text reads a value as the text in the file.
func (f *file) text(n *yaml.Node, v reflect.Value, setting string) {
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!merge":
	default:
		f.bad(n, setting, "it begins with !, which is a tag in YAML; write it in quotes if it is text, or remove the tag")
		return
	}
	if err := setText(v, n.Value); err != nil {
		f.bad(n, setting, "%s", err)
		return
	}
	f.from(setting)
}

// from records that the file gave a setting. A list covers everything in it.
func (f *file) from(setting string) {
	if !strings.Contains(setting, "[") {
		f.origins[setting] = f.name
	}
}

func (f *file) list(n *yaml.Node, v reflect.Value, setting string) {
	f.from(setting)
	all := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, entry := range n.Content {
		at := fmt.Sprintf("%s[%d]", setting, i)
		if entry.Kind == yaml.ScalarNode && entry.ShortTag() == "!!null" {
			f.bad(entry, at, "the entry is empty; write its value, in quotes if it is the text %q, or remove it", entry.Value)
			continue
		}
		f.value(entry, all.Index(i), at)
	}
	v.Set(all)
}

// section reads the settings of a mapping. Merged mappings (<<) come first, so that
// the mapping's own settings replace theirs.
func (f *file) section(n *yaml.Node, v reflect.Value, setting string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key, value := n.Content[i], n.Content[i+1]; key.ShortTag() == "!!merge" {
			f.merge(value, v, setting)
		}
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			continue
		}
		name := below(setting, key.Value)
		if line, twice := lines[key.Value]; twice {
			f.bad(key, name, "it is given twice, first on line %d; remove one", line)
			continue
		}
		lines[key.Value] = key.Line
		field, known := fieldOf(v, key.Value)
		if !known {
			f.bad(key, name, "there is no such setting%s; docs/reference/configuration.md lists all", suggestion(v.Type(), key.Value))
			continue
		}
		f.value(value, field, name)
		if field.Kind() == reflect.Struct || field.Kind() == reflect.Slice {
			f.positions[name] = positionOf(f.name, key)
		}
	}
}

// merge reads one or several merged mappings. Of several, the earlier replaces the
// settings of the later.
func (f *file) merge(n *yaml.Node, v reflect.Value, setting string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.SequenceNode {
		for i := range n.Content {
			f.merge(n.Content[len(n.Content)-1-i], v, setting)
		}
		return
	}
	f.section(n, v, setting)
}

// fieldOf returns the field of a setting.
func fieldOf(v reflect.Value, name string) (reflect.Value, bool) {
	for f, value := range v.Fields() {
		if f.Tag.Get("setting") == name {
			return value, true
		}
	}
	return reflect.Value{}, false
}

// suggestion returns the setting that a misspelt one resembles, for an error.
func suggestion(t reflect.Type, name string) string {
	var names []string
	for f := range t.Fields() {
		names = append(names, f.Tag.Get("setting"))
	}
	return meant(name, names)
}

// meant returns the name that a misspelt one resembles, for an error.
func meant(name string, names []string) string {
	if near, ok := policy.Nearest(name, names); ok {
		return " (meant " + near + "?)"
	}
	return ""
}

func below(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}
