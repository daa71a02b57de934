package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// setText sets a setting from the text in the file, a variable or a flag. Settings
// that hold text take it as it is, without the line break at the end that a block
// of YAML or an exported file leaves.
func setText(v reflect.Value, text string) error {
	text = trimLineEnd(text)
	if v.Kind() == reflect.Pointer {
		value := reflect.New(v.Type().Elem())
		if err := setText(value.Elem(), text); err != nil {
			return err
		}
		v.Set(value)
		return nil
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 30s, 90m or 24h", text)
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		return setBool(v, text)
	case v.CanInt():
		return setNumber(v, text)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String: // a list of one
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		v.Index(0).SetString(text)
	default:
		return errors.New("it cannot be given as text")
	}
	return nil
}

// trimLineEnd removes line breaks at the end of text, as secrets in files have them.
func trimLineEnd(text string) string { return strings.TrimRight(text, "\r\n") }

func setBool(v reflect.Value, text string) error {
	switch text {
	case "true", "True", "TRUE":
		v.SetBool(true)
	case "false", "False", "FALSE":
		v.SetBool(false)
	default:
		return fmt.Errorf("%q is neither true nor false", text)
	}
	return nil
}

// wholeNumber excludes forms that readers take for different numbers: 010, 0o10,
// 1e3, 1_000.
var wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

func setNumber(v reflect.Value, text string) error {
	n, err := strconv.ParseInt(text, 10, v.Type().Bits())
	if err != nil || !wholeNumber.MatchString(text) {
		return fmt.Errorf("%q is not a whole number in plain digits, such as 50000", text)
	}
	v.SetInt(n)
	return nil
}
