package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gantryhq/gantry/decide/policy"
)

// position is a place in a configuration file, for errors: file:line:column.
type position struct {
	file         string
	line, column int
}

func positionOf(file string, n *yaml.Node) position { return position{file, n.Line, n.Column} }

func (p position) String() string { return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column) }

// located is a mistake with its place. In the file that is a position and the
// setting; elsewhere it is the variable or flag.
type located struct {
	*policy.Mistake
	place string
	at    position // zero outside the file
}

func (l *located) Error() string { return l.place + ": " + l.Problem }
func (l *located) Unwrap() error { return l.Mistake }

// mistakes joins all mistakes of a configuration, those of reading and those of its
// values, in the order of the file. A value that could not be read has no other mistake,
// and nothing is known to be missing if the whole file could not.
func (l Loaded) mistakes(withoutAccount bool) error {
	if l.unusable {
		return errors.Join(l.unread...)
	}
	all := slices.Clone(l.unread)
	for _, m := range policy.Mistakes(l.validate(withoutAccount, l.Origins)) {
		read := !slices.ContainsFunc(l.unread, func(other error) bool {
			o, ok := errors.AsType[*policy.Mistake](other)
			return ok && (within(m.Setting, o.Setting) || within(o.Setting, m.Setting))
		})
		if read {
			all = append(all, l.locate(m))
		}
	}
	slices.SortStableFunc(all, func(a, b error) int {
		x, y := placeOf(a), placeOf(b)
		return cmp.Or(cmp.Compare(x.line, y.line), cmp.Compare(x.column, y.column))
	})
	return errors.Join(all...)
}

// aboutTheFile reports whether a mistake of reading concerns the whole file.
func aboutTheFile(err error) bool {
	m, ok := errors.AsType[*policy.Mistake](err)
	return !ok || m.Setting == ""
}

func placeOf(err error) position {
	if l, ok := errors.AsType[*located](err); ok {
		return l.at
	}
	return position{}
}

// within reports whether a setting is another one or a part of it.
func within(setting, other string) bool {
	rest, ok := strings.CutPrefix(setting, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// locate adds the place of a setting: the variable or flag that gave it, or the
// position of it, or of the nearest setting around it, in the file.
func (l Loaded) locate(m *policy.Mistake) error {
	if given := l.Origins[m.Setting]; given != "" && given != originDefault && given != l.file {
		return &located{Mistake: m, place: given}
	}
	if variable := l.accountVariable(m.Setting); variable != "" {
		return &located{Mistake: m, place: variable}
	}
	for at := m.Setting; at != ""; at = at[:max(strings.LastIndexAny(at, ".["), 0)] {
		if p, ok := l.positions[at]; ok {
			return &located{m, p.String() + ": " + m.Setting, p}
		}
	}
	return m
}

// accountVariable returns the variable of an account's setting, if the environment
// gave the account.
func (l Loaded) accountVariable(setting string) string {
	account, name, ok := strings.Cut(setting, "].")
	if !ok || l.Origins[account+"].name"] == "" || len(accountVariables[name]) == 0 {
		return ""
	}
	return accountVariables[name][0]
}
