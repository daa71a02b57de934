package managed

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// An event that differs in any field at all counts as another one.
func TestByContentLooksAtEveryField(t *testing.T) {
	place := []string{"Run", "State", "StateVersion", "Source"} // the same for all events of one place
	a := notification(spacelift.RunTypeTracked, "UNCONFIRMED", 5)
	a.Block = &spacelift.Block{What: spacelift.BlockLock, By: "jane"}
	a.Enforcement = &policy.Enforcement{Level: policy.Enforced}
	eachField(reflect.ValueOf(&a).Elem(), "", func(name string, field reflect.Value) {
		if slices.Contains(place, strings.Split(name, ".")[0]) {
			return
		}
		b := a
		b.Labels = slices.Clone(a.Labels)
		b.Delta, b.Block, b.Enforcement = new(*a.Delta), new(*a.Block), new(*a.Enforcement)
		eachField(reflect.ValueOf(&b).Elem(), "", func(other string, field reflect.Value) {
			if other == name {
				change(t, name, field)
			}
		})
		if byContent(a, b) == 0 || byContent(a, b) != -byContent(b, a) {
			t.Errorf("%s makes no difference", name)
		}
	})
}

func eachField(v reflect.Value, path string, visit func(string, reflect.Value)) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[time.Time]() {
		visit(path, v)
		return
	}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if path != "" {
			name = path + "." + name
		}
		eachField(v.Field(i), name, visit)
	}
}

func change(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(t0.Add(time.Hour)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("another " + name)
	case reflect.Int:
		v.SetInt(v.Int() + 1)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Slice:
		v.Set(reflect.ValueOf([]string{"gantry:managed"}))
	default:
		t.Fatalf("%s is a %s: teach this test to change it", name, v.Kind())
	}
}
