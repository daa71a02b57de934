package authority_test

import (
	"slices"
	"testing"

	"github.com/gantryhq/gantry/authority"
)

func TestStackNames(t *testing.T) {
	viewer := func(w authority.Where) authority.Grant { return authority.Grant{Role: authority.RoleViewer, Where: w} }
	named, labelled := viewer(authority.Where{Accounts: []string{"acme"}, Stacks: []string{"network", "web"}}), viewer(authority.Where{Labels: []string{"team:dba"}})
	for name, tt := range map[string]struct {
		grants []authority.Grant
		want   []string
		all    bool
	}{
		"by name":            {[]authority.Grant{named, viewer(authority.Where{Stacks: []string{"app"}})}, []string{"network", "web", "app"}, true},
		"by name and label":  {[]authority.Grant{named, labelled}, []string{"network", "web"}, true},
		"by pattern":         {[]authority.Grant{named, viewer(authority.Where{Stacks: []string{"app", "network-*"}})}, nil, false},
		"a pattern's label":  {[]authority.Grant{viewer(authority.Where{Stacks: []string{"network-*"}, Labels: []string{"team:dba"}})}, nil, true},
		"an account":         {[]authority.Grant{named, viewer(authority.Where{Accounts: []string{"globex"}})}, nil, false},
		"with a higher role": {[]authority.Grant{named, {Role: authority.RoleAdmin}}, nil, false},
		"nothing":            {nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, all := authority.Principal{Grants: tt.grants}.StackNames(authority.RoleViewer)
			if !slices.Equal(got, tt.want) || all != tt.all {
				t.Errorf("%v, all: %t; want %v, %t", got, all, tt.want, tt.all)
			}
		})
	}
	if got, all := (authority.Principal{Grants: []authority.Grant{named, {Role: authority.RoleApprover}}}).StackNames(authority.RoleAdmin); got != nil || !all {
		t.Errorf("for a role that it lacks: %v, %t", got, all)
	}
}
