package server

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	json "github.com/go-json-experiment/json/v1" // encoding/json in a third of the time

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// DecodeNotification returns the event of an accepted delivery. It never fails: a
// member that can't be read is left out, and named in the event's Unread. What
// accepting read of the body, the run, its type, its state and the state's
// version, comes from the delivery.
func DecodeNotification(d archive.Delivery, body []byte) managed.RunEvent {
	n, unread := decodeNotification(body)
	e := managed.RunEvent{
		Run: d.Run, Type: d.Type, State: d.State, StateVersion: d.StateVersion,
		At:       instant(n.Timestamp, n.TimestampMillis, d.ReceivedAt),
		Note:     cut(deref(n.Note)),
		Unread:   unread[:min(len(unread), managed.MaxUnread)],
		Source:   managed.SourceWebhook,
		Delivery: d.ID, ReceivedAt: d.ReceivedAt,
	}
	if n.Run != nil {
		e.Branch, e.TriggeredBy = cut(deref(n.Run.Branch)), cut(deref(n.Run.TriggeredBy))
		e.DriftDetection = deref(n.Run.DriftDetection)
		e.Commit, e.Delta = fromAPINotificationCommit(n.Run.Commit), fromAPINotificationDelta(n.Run.Delta)
		if slices.ContainsFunc(unread, func(path string) bool { return strings.HasPrefix(path, "run.delta") }) {
			e.Delta = nil // a plan that seems to change less than it does would mislead
		}
	}
	if n.Stack != nil {
		e.StackName = cut(deref(n.Stack.Name))
		// Only our own labels travel on: a stack may carry thousands of others,
		// and all would go into Temporal's history with each event.
		e.Labels = spacelift.OurLabels(n.Stack.Labels)
	}
	return e
}

// decodeNotification reads every member that has the contract's type, and returns
// the paths of the others.
func decodeNotification(body []byte) (n api.Notification, unread []string) {
	if json.Unmarshal(body, &n) == nil {
		return n, nil
	}
	n = api.Notification{}
	return n, decodeMembers(body, reflect.ValueOf(&n).Elem(), "")
}

// decodeMembers decodes a value as far as its members have the types of into, and
// returns the paths of those that don't.
func decodeMembers(value []byte, into reflect.Value, path string) (unread []string) {
	if json.Unmarshal(value, into.Addr().Interface()) == nil {
		return nil
	}
	into.SetZero() // it may hold a part
	if into.Kind() == reflect.Pointer && into.Type().Elem().Kind() == reflect.Struct {
		into.Set(reflect.New(into.Type().Elem()))
		if unread = decodeMembers(value, into.Elem(), path); len(unread) == 1 && unread[0] == path {
			into.SetZero() // not even an object
		}
		return unread
	}
	switch into.Kind() {
	case reflect.Struct:
		return decodeObject(value, into, path)
	case reflect.Slice:
		return decodeList(value, into, path)
	}
	return []string{path}
}

func decodeObject(value []byte, into reflect.Value, path string) (unread []string) {
	var members map[string]jsontext.Value
	if json.Unmarshal(value, &members) != nil {
		if path == "" {
			path = "the body"
		}
		return []string{path}
	}
	for i := range into.NumField() {
		name, _, _ := strings.Cut(into.Type().Field(i).Tag.Get("json"), ",")
		for given, member := range members {
			if strings.EqualFold(given, name) {
				unread = append(unread, decodeMembers(member, into.Field(i), strings.TrimPrefix(path+"."+name, "."))...)
			}
		}
	}
	return unread
}

// decodeList keeps the readable items.
func decodeList(value []byte, into reflect.Value, path string) (unread []string) {
	var items []jsontext.Value
	if json.Unmarshal(value, &items) != nil {
		return []string{path}
	}
	for i, item := range items {
		v := reflect.New(into.Type().Elem()).Elem()
		if wrong := decodeMembers(item, v, fmt.Sprintf("%s[%d]", path, i)); len(wrong) > 0 {
			unread = append(unread, wrong...)
			continue
		}
		into.Set(reflect.Append(into, v))
	}
	return unread
}

func fromAPINotificationCommit(c *api.NotificationCommit) spacelift.Commit {
	if c == nil {
		return spacelift.Commit{}
	}
	return spacelift.Commit{
		Hash: cut(deref(c.Hash)), Message: cut(deref(c.Message)), URL: cut(deref(c.URL)),
		AuthorLogin: cut(deref(c.AuthorLogin)), AuthorName: cut(deref(c.AuthorName)),
	}
}

func fromAPINotificationDelta(d *api.NotificationDelta) *spacelift.Delta {
	if d == nil {
		return nil
	}
	return &spacelift.Delta{Added: deref(d.Added), Changed: deref(d.Changed), Deleted: deref(d.Deleted), Resources: deref(d.Resources)}
}
