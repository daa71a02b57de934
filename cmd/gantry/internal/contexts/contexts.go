// Package contexts keeps what a person has set up on this machine: the Gantrys that they
// use, by name, and their sign-ins. Both are files in their configuration folder.
package contexts

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/folder"
)

// Context names a Gantry, and how commands use it.
type Context struct {
	URL       string `yaml:"url" json:"url"`
	Account   string `yaml:"account,omitempty" json:"account,omitempty"`     // of commands without --account; empty for none
	TokenFile string `yaml:"tokenFile,omitempty" json:"tokenFile,omitempty"` // file with the token; empty for a sign-in
}

// Contexts are all contexts of a person.
type Contexts struct {
	Current string             `yaml:"current,omitempty"` // that commands use; empty for none
	All     map[string]Context `yaml:"contexts,omitempty"`
}

const contextsFile = "contexts.yaml"

// Read returns the contexts; none if there is no file.
func Read() (Contexts, error) {
	all := Contexts{All: map[string]Context{}}
	name, err := file(contextsFile)
	if err != nil {
		return all, err
	}
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(content)) == 0 {
		return all, nil
	}
	if err != nil {
		return all, fmt.Errorf("read contexts: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	if err := d.Decode(&all); err != nil {
		return all, fmt.Errorf("read contexts: %s: %w; correct or remove it", name, err)
	}
	return all, nil
}

// Edit changes the contexts, unless edit returns an error.
func Edit(edit func(*Contexts) error) error {
	all, err := Read()
	if err != nil {
		return err
	}
	if err := edit(&all); err != nil {
		return err
	}
	content, err := yaml.Marshal(all)
	if err == nil {
		err = replace(contextsFile, content)
	}
	if err != nil {
		return fmt.Errorf("keep contexts: %w", err)
	}
	return nil
}

// Names returns the names of all contexts, sorted.
func (c Contexts) Names() []string { return slices.Sorted(maps.Keys(c.All)) }

// Get returns a context.
func (c Contexts) Get(name string) (Context, error) {
	found, ok := c.All[name]
	if ok {
		return found, nil
	}
	if near, ok := policy.Nearest(name, c.Names()); ok {
		return found, fmt.Errorf("there is no context %q; did you mean %s?", name, near)
	}
	return found, fmt.Errorf("there is no context %q; gantry context list shows them, gantry context add adds one", name)
}

// file returns the name of a file in the configuration folder.
func file(name string) (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find your configuration folder: %w", err)
	}
	return filepath.Join(dir, "gantry", name), nil
}

// replace replaces a file in the configuration folder in one step, readable by its owner
// alone.
func replace(name string, content []byte) error {
	path, err := file(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return folder.Replace(path, content, 0o600, nil)
}
