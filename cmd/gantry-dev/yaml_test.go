package main

import (
	"strings"
	"testing"
)

func TestJSONOfYAMLHoldsTheSameValues(t *testing.T) {
	for content, want := range map[string]string{
		"a: 2026-01-05":          `{"a":"2026-01-05"}`,
		"a: '00012345'":          `{"a":"00012345"}`,
		"a: 12":                  `{"a":12}`,
		"a: &x [1.5, yes]\nb: 1": `{"a":[1.5,"yes"],"b":1}`,
	} {
		got, err := jsonOf([]byte(content))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v; want %s", content, got, err, want)
		}
	}
	for _, content := range []string{"a: 1\nb: 00012345", "a: 1\nb: [0x1F]", "a: 1\nb: {c: 1_000}", "a: 1\nb: .inf"} {
		if got, err := jsonOf([]byte(content)); err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "in quotes") {
			t.Errorf("%s: got %s, %v", content, got, err)
		}
	}
}
