package server

import "time"

// toAPIList converts each item of a list; the API has no null for an empty one.
func toAPIList[T, A any](items []T, convert func(T) A) []A {
	list := make([]A, len(items))
	for i, item := range items {
		list[i] = convert(item)
	}
	return list
}

// words writes ids as the API has them; none is an empty list.
func words[ID ~string](ids []ID) []string {
	return toAPIList(ids, func(id ID) string { return string(id) })
}

// optional converts a value that may be missing.
func optional[T, A any](value *T, convert func(T) A) *A {
	if value == nil {
		return nil
	}
	return new(convert(*value))
}

// nonEmpty returns nil for text that the API leaves out.
func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// nonZero returns nil for a time that the API leaves out.
func nonZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
