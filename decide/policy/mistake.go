package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Mistake is one mistake in a configuration.
type Mistake struct {
	Setting string // as a file names it, such as profiles[0].approvals; empty for the file itself
	Problem string // with the remedy
}

func (m *Mistake) Error() string {
	if m.Setting == "" {
		return m.Problem
	}
	return m.Setting + ": " + m.Problem
}

var settingName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.\[\]]*$`)

// At returns an error about a setting as a mistake. If the text of the error begins
// with a setting within that one and a colon, the mistake is about the inner one.
func At(setting string, err error) *Mistake {
	problem := err.Error()
	if inner, rest, ok := strings.Cut(problem, ": "); ok && settingName.MatchString(inner) {
		setting, problem = strings.TrimPrefix(setting+"."+inner, "."), rest
	}
	return &Mistake{setting, problem}
}

// Mistakes returns the mistakes that an error joins.
func Mistakes(err error) (all []*Mistake) {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, Mistakes(e)...)
		}
		return all
	}
	if m, ok := errors.AsType[*Mistake](err); ok {
		return []*Mistake{m}
	}
	return []*Mistake{At("", err)}
}

// mistakes returns errors about a setting as mistakes.
func mistakes(setting string, errs []error) []error {
	all := make([]error, len(errs))
	for i, err := range errs {
		all[i] = At(setting, err)
	}
	return all
}

// mistake returns a mistake about a setting, whose text names the setting within it.
func mistake(setting, format string, args ...any) error {
	return At(setting, fmt.Errorf(format, args...))
}
