package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gantryhq/gantry/spacelift"
)

// notification holds the eight members that accepting needs of a body. Every
// other member may have any type.
type notification struct {
	account, state, action text
	stateVersion           int64
	hasStateVersion        bool

	run            bool // the body has one
	runID, runType text
	stack          bool // the body has one
	stackID        text
	managed        bool // a label opts the stack in

	// mistyped says which needed member has another type than the contract's;
	// empty for none.
	mistyped string
}

// text is a member that is a string. It is not known if it is missing or null.
type text struct {
	value string
	known bool
}

// errNotJSON is the error for a body that isn't one JSON value.
var errNotJSON = errors.New("the body isn't one JSON value")

// readNotification reads a body in one pass and validates all of its JSON. Like
// encoding/json, it ignores the case of names, takes the last of two members with
// one name, and replaces invalid UTF-8. The error wraps errNotJSON.
func readNotification(body []byte) (notification, error) {
	r := notificationReaders.Get().(*notificationReader)
	defer notificationReaders.Put(r)
	r.open(body)
	err := r.body()
	n := r.n
	r.open(nil) // the pool must not keep the body
	if err != nil {
		return n, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	return n, nil
}

// notificationReader is the state of one pass over a body.
type notificationReader struct {
	in      bytes.Buffer // the decoder reads it without a copy
	decoder *jsontext.Decoder
	n       notification
}

var notificationReaders = sync.Pool{New: func() any { return &notificationReader{decoder: new(jsontext.Decoder)} }}

func (r *notificationReader) open(body []byte) {
	r.in, r.n = *bytes.NewBuffer(body), notification{}
	r.decoder.Reset(&r.in, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func (r *notificationReader) body() error {
	if err := r.object("the body", nil, members, (*notificationReader).member); err != nil {
		return err
	}
	if _, err := r.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

// The names of the needed members.
var (
	members      = []string{"account", "state", "stateVersion", "run", "stack", "action"}
	runMembers   = []string{"id", "type"}
	stackMembers = []string{"id", "labels"}
)

func (r *notificationReader) member(name string) error {
	n := &r.n
	switch name {
	case "account":
		return r.text(&n.account, "account")
	case "state":
		return r.text(&n.state, "state")
	case "stateVersion":
		return r.version()
	case "run":
		return r.object("run", &n.run, runMembers, (*notificationReader).runMember)
	case "stack":
		return r.object("stack", &n.stack, stackMembers, (*notificationReader).stackMember)
	case "action": // only says what kind of event isn't for Gantry
		return r.text(&n.action, "")
	}
	return r.decoder.SkipValue()
}

func (r *notificationReader) runMember(name string) error {
	switch name {
	case "id":
		return r.text(&r.n.runID, "run.id")
	case "type":
		return r.text(&r.n.runType, "run.type")
	}
	return r.decoder.SkipValue()
}

func (r *notificationReader) stackMember(name string) error {
	switch name {
	case "id":
		return r.text(&r.n.stackID, "stack.id")
	case "labels":
		return r.labels()
	}
	return r.decoder.SkipValue()
}

// object reads an object's members with take, which receives the name in names
// that each has, or none. A null takes back what an earlier object of the same
// name said.
func (r *notificationReader) object(path string, present *bool, names []string, take func(*notificationReader, string) error) error {
	switch kind := r.decoder.PeekKind(); kind {
	case '{':
		if present != nil {
			*present = true
		}
	case 'n':
		r.n.forget(path)
		return r.decoder.SkipValue()
	default:
		return r.skip(path, kind, "an object")
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return err
	}
	for r.decoder.PeekKind() != '}' {
		name, err := r.decoder.ReadValue()
		if err != nil {
			return err
		}
		if err := take(r, nameOf(name, names)); err != nil {
			return err
		}
	}
	_, err := r.decoder.ReadToken()
	return err
}

// forget drops what an object said that a later null replaces.
func (n *notification) forget(path string) {
	switch path {
	case "run":
		n.run, n.runID, n.runType = false, text{}, text{}
	case "stack":
		n.stack, n.stackID, n.managed = false, text{}, false
	}
}

func (r *notificationReader) text(into *text, path string) error {
	switch kind := r.decoder.PeekKind(); kind {
	case '"':
		v, err := r.decoder.ReadValue()
		if err != nil {
			return err
		}
		*into = text{string(unquoted(v)), true}
		return nil
	case 'n':
		*into = text{}
		return r.decoder.SkipValue()
	default:
		return r.skip(path, kind, "a string")
	}
}

func (r *notificationReader) version() error {
	switch kind := r.decoder.PeekKind(); kind {
	case '0':
		v, err := r.decoder.ReadValue()
		if err != nil {
			return err
		}
		if version, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			r.n.stateVersion, r.n.hasStateVersion = version, true
		} else {
			r.mistyped("stateVersion is " + cut(string(v)) + ", not a 64-bit integer")
		}
		return nil
	case 'n':
		r.n.stateVersion, r.n.hasStateVersion = 0, false
		return r.decoder.SkipValue()
	default:
		return r.skip("stateVersion", kind, "an integer")
	}
}

// labels reads whether one of them opts the stack in. A label that isn't a string
// doesn't.
func (r *notificationReader) labels() error {
	switch kind := r.decoder.PeekKind(); kind {
	case '[':
	case 'n':
		r.n.managed = false
		return r.decoder.SkipValue()
	default:
		return r.skip("stack.labels", kind, "a list")
	}
	r.n.managed = false
	if _, err := r.decoder.ReadToken(); err != nil {
		return err
	}
	for r.decoder.PeekKind() != ']' {
		v, err := r.decoder.ReadValue()
		if err != nil {
			return err
		}
		if v[0] == '"' && string(bytes.TrimSpace(unquoted(v))) == spacelift.LabelManaged {
			r.n.managed = true
		}
	}
	_, err := r.decoder.ReadToken()
	return err
}

// skip passes over a value that has another type than the contract's.
func (r *notificationReader) skip(path string, kind jsontext.Kind, want string) error {
	if err := r.decoder.SkipValue(); err != nil {
		return err
	}
	if path != "" {
		r.mistyped(path + " is " + kindName(kind) + ", not " + want)
	}
	return nil
}

func (r *notificationReader) mistyped(what string) {
	if r.n.mistyped == "" {
		r.n.mistyped = what
	}
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 'n':
		return "null"
	default:
		return "a boolean"
	}
}

// nameOf returns which of names a member has; empty for none.
func nameOf(quoted jsontext.Value, names []string) string {
	name := unquoted(quoted)
	ascii := isASCII(name)
	for _, want := range names {
		// Only letters beyond ASCII equal one of another length: ſtate, staKe.
		if (len(name) == len(want) || !ascii) && bytes.EqualFold(name, []byte(want)) {
			return want
		}
	}
	return ""
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// unquoted returns the string that a JSON string says. It shares the value's
// memory if it can.
func unquoted(v jsontext.Value) []byte {
	if inner := v[1 : len(v)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return inner
	}
	b, _ := jsontext.AppendUnquote(nil, v) // the error says that invalid UTF-8 was replaced
	return b
}
