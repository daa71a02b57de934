package config

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
)

// Print writes every value with its origin, without secrets. Of lists it writes
// only the values that are set.
func (l Loaded) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SETTING\tVALUE\tFROM")
	scalars := values(reflect.ValueOf(l.Config), "")
	for _, s := range settings(reflect.TypeFor[Config](), "") {
		if value, ok := scalars[s.Name]; ok {
			fmt.Fprintf(t, "%s\t%s\t%s\n", s.Name, value, l.Origins[s.Name])
		}
	}
	lists := reflect.ValueOf(l.Config)
	for f := range lists.Type().Fields() {
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			name := f.Tag.Get("setting")
			for _, line := range nonZero(name, lists.FieldByIndex(f.Index), false, false) {
				fmt.Fprintf(t, "%s\t%s\t%s\n", line[0], line[1], cmp.Or(l.Origins[line[0]], l.Origins[name]))
			}
		}
	}
	return t.Flush()
}

// nonZero returns every set value within a value, as pairs of name and text. In place of
// a secret it says only that there is one, unless it is to reveal them.
func nonZero(name string, v reflect.Value, secret, reveal bool) (lines [][2]string) {
	switch {
	case v.IsZero():
		return nil
	case v.Kind() == reflect.Pointer: // to a scalar, which may be zero
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Struct:
		for f, value := range v.Fields() {
			lines = append(lines, nonZero(name+"."+f.Tag.Get("setting"), value, f.Tag.Get("secret") != "", reveal)...)
		}
		return lines
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			lines = append(lines, nonZero(fmt.Sprintf("%s[%d]", name, i), v.Index(i), secret, reveal)...)
		}
		return lines
	case v.Kind() == reflect.Slice && secret && !reveal:
		return [][2]string{{name, strings.TrimSuffix(strings.Repeat("(set), ", v.Len()), ", ")}}
	case secret && !reveal:
		return [][2]string{{name, "(set)"}}
	case v.Kind() == reflect.Slice:
		return [][2]string{{name, words(v)}}
	}
	return [][2]string{{name, fmt.Sprint(v.Interface())}}
}
