package config

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Schema returns the JSON Schema of the configuration file, for editors. It is made
// of the settings' types, so that it knows each setting. An editor sees values as YAML
// reads them and not as they are written: the schema accepts every file that Load
// accepts, but can't refuse all that Load refuses, such as a number written 010.
func Schema() map[string]any {
	s := object(reflect.TypeFor[Config]())
	s["$schema"] = "http://json-schema.org/draft-07/schema#" // the newest that editors' YAML plugins know well
	s["title"] = "Configuration of Gantry"
	return s
}

// choices lists the values of types that have only some.
var choices = map[reflect.Type][]string{
	reflect.TypeFor[policy.ConfirmMode]():   texts(policy.ConfirmModes),
	reflect.TypeFor[policy.TimeoutAction](): texts(policy.TimeoutActions),
	reflect.TypeFor[policy.OldPlans]():      texts(policy.OldPlansActions),
	reflect.TypeFor[policy.Cause]():         texts(policy.RetryableCauses),
	reflect.TypeFor[spacelift.RunType]():    texts(spacelift.RunTypes),
	reflect.TypeFor[authority.Role]():       texts(authority.Roles),
}

func texts[T ~string](values []T) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}

const (
	wholeNumberPattern    = `^-?(0|[1-9][0-9]*)$`
	durationPattern       = `^[-+]?(` + durationParts + `+|0)$`
	policyDurationPattern = `^(([0-9]+d)?(` + durationParts + `+|0)|[0-9]+d)$`
	durationParts         = `(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))`
	truthPattern          = `^(true|True|TRUE|false|False|FALSE)$`
)

// object returns the schema of a section.
func object(t reflect.Type) map[string]any {
	properties := map[string]any{}
	for f := range t.Fields() {
		properties[f.Tag.Get("setting")] = described(f)
	}
	return map[string]any{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

// described returns the schema of a setting with its text.
func described(f reflect.StructField) map[string]any {
	s := schemaOf(f.Type, strings.Fields(f.Tag.Get("oneof")))
	if doc := f.Tag.Get("doc"); doc != "" {
		s["description"] = doc
	}
	return s
}

// schemaOf returns the schema of a type. oneOf lists the values of a text that has
// only some.
func schemaOf(t reflect.Type, oneOf []string) map[string]any {
	if all := choices[t]; all != nil {
		oneOf = all
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem(), oneOf)
	case t.Kind() == reflect.Struct:
		return object(t)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return map[string]any{"type": []string{"array", "null"}, "items": entry(t.Elem())}
	case t.Kind() == reflect.Slice:
		one := schemaOf(t.Elem(), oneOf)
		if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			one = text(nil) // with commas between
		}
		return map[string]any{"anyOf": []any{map[string]any{"type": []string{"array", "null"}, "items": schemaOf(t.Elem(), oneOf)}, one}}
	case t == reflect.TypeFor[time.Duration]():
		return orZero(durationPattern)
	case t == reflect.TypeFor[policy.Duration]():
		return orZero(policyDurationPattern)
	case t.Kind() == reflect.Bool:
		return map[string]any{"anyOf": []any{map[string]any{"type": "boolean"}, pattern(truthPattern)}}
	case t.Kind() == reflect.String:
		return text(oneOf)
	default:
		return map[string]any{"anyOf": []any{map[string]any{"type": "integer"}, pattern(wholeNumberPattern)}}
	}
}

// entry returns the schema of an entry of a list, which can't be empty.
func entry(t reflect.Type) map[string]any {
	s := object(t)
	s["type"] = "object"
	return s
}

// text returns the schema of a text. Gantry takes it as it is written, even where
// YAML reads a number or a truth.
func text(oneOf []string) map[string]any {
	if len(oneOf) > 0 {
		return map[string]any{"enum": oneOf}
	}
	return map[string]any{"type": []string{"string", "number", "boolean"}}
}

func pattern(p string) map[string]any { return map[string]any{"type": "string", "pattern": p} }

// orZero is the schema of a duration: 0 needs no unit.
func orZero(p string) map[string]any {
	return map[string]any{"anyOf": []any{pattern(p), map[string]any{"const": 0}}}
}
