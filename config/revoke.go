package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/folder"
)

// RevokeToken notes in a configuration file that a token is revoked, and changes nothing
// else of it. The entry stays, so that Gantry can say of the token that it was revoked.
// The file is replaced in one step.
func RevokeToken(name, token string, at time.Time) error {
	name, err := filepath.EvalSymlinks(name) // to replace the file, not the link
	if err != nil {
		return fmt.Errorf("read configuration file: %w", err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("read configuration file: %w", err)
	}
	before, err := readAlone(name)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(before.Tokens, func(t authority.Token) bool { return decide.SameName(t.Name, token) })
	switch {
	case i < 0:
		return fmt.Errorf("%s has no token of the name %s; gantry token list shows those that Gantry knows", name, token)
	case before.Tokens[i].Revoked != "":
		return fmt.Errorf("the token %s was revoked at %s", token, before.Tokens[i].Revoked)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read configuration file: %w", err)
	}
	when := authority.Instant(at.UTC().Format(time.RFC3339))
	changed, err := withRevoked(content, i, when)
	if err != nil {
		return fmt.Errorf("%s: %w; write revoked: %s into the entry of the token yourself", name, err, when)
	}
	before.Tokens[i].Revoked = when
	unsafe := fmt.Errorf("%s can't be edited safely; write revoked: %s into the entry of the token yourself", name, when)
	err = folder.Replace(name, changed, info.Mode(), func(written string) error {
		if after, err := readAlone(written); err != nil || !reflect.DeepEqual(before, after) {
			return unsafe
		}
		return nil
	})
	switch {
	case errors.Is(err, unsafe):
		return unsafe
	case err != nil:
		return fmt.Errorf("replace configuration file: %w", err)
	}
	return folder.Sync(filepath.Dir(name)) // a crash must not take the revocation back
}

// readAlone reads a file without the environment.
func readAlone(name string) (Config, error) {
	l := Loaded{Origins: map[string]string{}, positions: map[string]position{}}
	problems := l.readFile(name)
	return l.Config, errors.Join(problems...)
}

// withRevoked adds a line to the entry of a token, or a setting if the entry is on one
// line.
func withRevoked(content []byte, token int, when authority.Instant) ([]byte, error) {
	document, err := parse(content)
	if err != nil {
		return nil, err
	}
	var entry *yaml.Node
	for i := 0; i+1 < len(document.Content); i += 2 {
		if list := document.Content[i+1]; document.Content[i].Value == "tokens" && list.Kind == yaml.SequenceNode {
			entry = list.Content[token]
		}
	}
	if entry == nil || entry.Kind != yaml.MappingNode || len(entry.Content) == 0 {
		return nil, errors.New("the entry of the token is no plain mapping")
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	at := entry.Column - 1
	for _, l := range lines[:entry.Line-1] {
		at += len(l)
	}
	added := "revoked: " + string(when) + "\n" + strings.Repeat(" ", entry.Column-1)
	if entry.Style&yaml.FlowStyle != 0 {
		at++ // behind the brace
		added = `revoked: "` + string(when) + `", `
	}
	return slices.Concat(content[:at], []byte(added), content[at:]), nil
}
