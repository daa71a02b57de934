package managed

import (
	"strings"
	"testing"

	"github.com/gantryhq/gantry/decide/policy"
)

// What became another in a policy is named as explanations and stacks name it.
func TestDifferences(t *testing.T) {
	for name, tt := range map[string]struct {
		was, is []string
		want    string // the beginning
	}{
		"nothing":                            {[]string{"gantry:confirm=auto"}, []string{"gantry:confirm=auto"}, ""},
		"who confirms":                       {nil, []string{"gantry:confirm=auto"}, "confirm=auto (gantry:confirm=auto)"},
		"a group that is anyone again":       {[]string{"gantry:approvals=2", "gantry:approvers=platform"}, []string{"gantry:approvals=2"}, "approvers=anyone (default)"},
		"the stacks it follows":              {nil, []string{"gantry:after=dns"}, "after=dns (gantry:after=dns)"},
		"a label that can't be followed":     {nil, []string{"gantry:aprovals=2"}, "gantry:aprovals=2 can't be followed: "},
		"a label that could not be followed": {[]string{"gantry:aprovals=2"}, nil, "no longer: gantry:aprovals=2 can't be followed: "},
	} {
		if got := differences(rulebook.Resolve(policy.Labelled(tt.was)), rulebook.Resolve(policy.Labelled(tt.is))); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
