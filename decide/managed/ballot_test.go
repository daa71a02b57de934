package managed

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide"
)

// Nobody approves their own run, however its people and theirs write the name, and even if
// a chain has cut it.
func TestWhoeverIsBehindARunIsRecognized(t *testing.T) {
	const composed, parts = "Jos\u00e9 Garc\u00eda", "Jose\u0301 Garci\u0301a"
	long := "some.very.long.name.of.somebody." + composed + "@subsidiary.acme.example"
	longParts := strings.ReplaceAll(long, composed, parts)
	cut := func(name string) string { return Bounded([]string{name})[0] }
	for _, tt := range []struct {
		what           string
		behind, person string
		may            bool
	}{
		{"the same letters", composed, parts, false},
		{"the other way round", parts, composed, false},
		{"in another case", strings.ToUpper(parts), composed, false},
		{"with what nobody sees", "Jos\u00e9\u200b García", composed, false},
		{"cut by a chain", cut(long), long, false},
		{"cut, and composed otherwise", cut(longParts), long, false},
		{"cut in another place", cut(long), longParts, false},
		{"somebody else", composed, "Jose Garcia", true},
		{"a long name of somebody else", cut(long), "x" + long, true},
		{"a name that only looks cut", "jo…", composed, true},
	} {
		b := Ballot{Takes: []Verdict{Approve}, Electorate: Electorate{Excluded: []string{"ann", tt.behind}}}
		want := map[bool][]Verdict{true: {Approve}}[tt.may]
		if diff := cmp.Diff(want, b.Offers(decide.Person{Name: "bob", Aliases: []string{tt.person}})); diff != "" {
			t.Errorf("%s: %+q by %+q (-want +got)\n%s", tt.what, tt.behind, tt.person, diff)
		}
	}
}

// One person is one approval, and one group one group.
func TestPeopleAndGroupsHaveOneName(t *testing.T) {
	b := Ballot{
		Takes: Verdicts, Electorate: Electorate{Group: "\u00e9quipe", SelfApproval: true},
		Approved: []BallotApproval{{Name: "Jos\u00e9", Counts: true}},
	}
	for _, tt := range []struct {
		who  decide.Person
		want []Verdict
	}{
		{decide.Person{Name: "Jose\u0301", Groups: []string{"e\u0301quipe"}}, []Verdict{Reject, Revoke}},
		{decide.Person{Name: "ann", Groups: []string{"e\u0301quipe"}}, []Verdict{Approve, Reject}},
		{decide.Person{Name: "bob", Groups: []string{"equipe"}}, nil},
	} {
		if diff := cmp.Diff(tt.want, b.Offers(tt.who)); diff != "" {
			t.Errorf("%+q (-want +got)\n%s", tt.who, diff)
		}
	}
	if got := Distinct([]string{"Jos\u00e9", "JOSE\u0301", "", "ann"}); !cmp.Equal(got, []string{"Jos\u00e9", "ann"}) {
		t.Errorf("distinct names: %+q", got)
	}
}
