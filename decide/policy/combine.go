package policy

import (
	"cmp"
	"fmt"
	"strings"
)

// layer is one source of values: a profile by way of a rule or label, or a label.
type layer struct {
	Profile
	after  []string // stacks that are followed; only labels name them
	origin string   // of the values

	label  string // the label, if it is one, or it names the profile
	locked bool   // it is a locked rule
}

// Overruled is a value that a label or rule asked for, without effect.
type Overruled struct {
	Setting string `json:"setting"`
	Value   string `json:"value"`
	Origin  string `json:"origin"` // the label or rule
	Reason  string `json:"reason"` // a sentence
}

// combination is a policy while its layers are combined, the weakest first.
type combination struct {
	Policy
	lock  string            // origin of the first locked rule; empty: none
	locks map[string]string // origin of the locked rule that set a setting
	base  Policy            // all but the labels
}

// take adds a layer.
func (c *combination) take(l layer) {
	if l.Name != "" {
		c.Profile = Setting[string]{l.Name, cmp.Or(l.label, l.origin)}
	}
	for _, s := range settings {
		s.take(c, l)
	}
	if l.locked && c.lock == "" {
		c.lock = l.origin
	}
}

// setting is a value of a policy, and the way in which layers combine to it.
type setting struct {
	name    string
	gates   bool   // it decides whether a plan passes
	tighter string // which of two values is tighter, for people
	take    func(c *combination, l layer)
}

// access reads and writes a value of a policy. given returns the value of a layer, if
// that sets one.
type access[T any] struct {
	get   func(p *Policy) Setting[T]
	set   func(p *Policy, s Setting[T])
	given func(l layer) (value T, ok bool)
	spell func(T) string
}

// order compares values. meet returns the loosest value that is at least as tight as
// both; ok is false if there is none, because neither is tighter.
type order[T any] struct {
	says   string
	meet   func(a, b T) (met T, ok bool)
	union  bool // meet is everything that either has, so nothing is overruled
	labels bool // values of several labels add up
}

func define[T any](name string, gates bool, a access[T], o order[T]) setting {
	return setting{name: name, gates: gates, tighter: o.says, take: func(c *combination, l layer) {
		value, ok := a.given(l)
		if !ok {
			return
		}
		lock := c.locks[name]
		if l.locked {
			c.locks[name] = l.origin
		}
		if lock == "" && l.label != "" && gates {
			lock = c.lock
		}
		is := a.get(&c.Policy)
		switch {
		case lock != "":
			tighten(c, l, lock, name, value, a, o)
		case o.labels && l.label != "" && fromLabel(is.Origin):
			value, _ = o.meet(is.Value, value)
			a.set(&c.Policy, Setting[T]{value, joined(is.Origin, l.origin)})
		default:
			a.set(&c.Policy, Setting[T]{value, l.origin})
		}
	}}
}

// tighten adds a value of a layer where a locked rule allows only tighter ones.
func tighten[T any](c *combination, l layer, lock, name string, value T, a access[T], o order[T]) {
	same := func(x, y T) bool { return a.spell(x) == a.spell(y) }
	stands := func(is Setting[T]) bool {
		met, ok := o.meet(is.Value, value)
		if ok && (o.union || !same(met, is.Value) || same(value, is.Value)) {
			return false
		}
		c.Overruled = append(c.Overruled, Overruled{
			Setting: name, Value: a.spell(value), Origin: l.origin,
			Reason: lock + " locks it, so it can only be tightened",
		})
		return true
	}
	if l.label != "" && stands(a.get(&c.base)) {
		return
	}
	is := a.get(&c.Policy)
	met, comparable := o.meet(is.Value, value)
	switch {
	case !comparable:
		c.Problems = append(c.Problems, Problem{
			Label:   joined(is.Origin, l.origin),
			Problem: fmt.Sprintf("they set %s to %s and to %s, and neither is tighter", name, a.spell(is.Value), a.spell(value)),
			Remedy:  "remove one of them",
		})
	case stands(is):
	case same(met, is.Value) && is.Origin != OriginDefault:
	case same(met, value):
		a.set(&c.Policy, Setting[T]{value, l.origin})
	default: // some of both
		a.set(&c.Policy, Setting[T]{met, joined(is.Origin, l.origin)})
	}
}

// joined returns the origin of a value that has two.
func joined(a, b string) string {
	switch {
	case a == OriginDefault:
		return b
	case strings.Contains(", "+a+", ", ", "+b+", "): // labels may hold commas
		return a
	}
	return a + ", " + b
}
