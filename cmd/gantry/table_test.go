package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Times have the format of the API's sentences and of flags, in every time zone.
func TestTimesAreUTC(t *testing.T) {
	at := time.Date(2026, 1, 5, 7, 0, 0, 123456789, time.FixedZone("CET", 3600))
	if got, want := when(&at), "2026-01-05T06:00:00Z"; got != want {
		t.Errorf("printed as %s, want %s", got, want)
	}
	again, err := timeOf("since", when(&at), at, 1)
	if err != nil || !again.Equal(at.Truncate(time.Second)) {
		t.Errorf("read again as %s, %v", again, err)
	}
	if got := when(nil) + when(&time.Time{}); got != "" {
		t.Errorf("no time is printed as %s", got)
	}
}

// Each cell is under its column, even beside empty ones, and no line ends in
// blanks.
func TestColumnsHold(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		answer string
		want   string // from the last table on
	}{
		{
			args: []string{"runs", "list"},
			answer: `{"runs":[
				{"account":"acme","stack":"network","run":"01B","type":"TRACKED","state":"UNCONFIRMED","phase":"waiting","startedAt":"2026-01-05T07:00:00Z"},
				{"account":"acme","stack":"network-prod","run":"01A","type":"PROPOSED","state":"FINISHED","phase":"done","startedAt":"2026-01-05T06:00:00Z","endedAt":"2026-01-05T06:10:00Z"}]}`,
			want: `
RUN                    TYPE      STATE        PHASE    STARTED               ENDED
acme/network/01B       TRACKED   UNCONFIRMED  waiting  2026-01-05T07:00:00Z
acme/network-prod/01A  PROPOSED  FINISHED     done     2026-01-05T06:00:00Z  2026-01-05T06:10:00Z
`,
		},
		{
			args: []string{"deliveries", "list"},
			answer: `{"deliveries":[
				{"id":"02","receivedAt":"2026-01-05T07:00:00Z","outcome":"refused","reason":"signature-missing","detail":"no signature came with it"},
				{"id":"01","receivedAt":"2026-01-05T06:00:00Z","outcome":"accepted","forwarding":"forwarded","account":"acme","stack":"network","run":"01A","state":"QUEUED"},
				{"id":"00","receivedAt":"2026-01-05T05:00:00Z","outcome":"refused","reason":"sha1-only"}]}`,
			want: `
DELIVERY  RECEIVED              OUTCOME   FORWARDING  RUN               STATE   WHY
02        2026-01-05T07:00:00Z  refused                                         no signature came with it
01        2026-01-05T06:00:00Z  accepted  forwarded   acme/network/01A  QUEUED
00        2026-01-05T05:00:00Z  refused
`,
		},
		{
			args: []string{"runs", "show", "acme/network/01A"},
			answer: `{"account":"acme","stack":"network","run":"01A","timeline":[
				{"at":"2026-01-05T06:00:00Z","kind":"event","summary":"the run is QUEUED"},
				{"at":"2026-01-05T06:01:00Z","kind":"event","summary":"the run is PLANNING"}]}`,
			want: `
TIME                  WHAT   BY
2026-01-05T06:00:00Z  event      the run is QUEUED
2026-01-05T06:01:00Z  event      the run is PLANNING
`,
		},
		{
			args: []string{"chains", "show", "acme/network/01A"},
			answer: `{"account":"acme","stack":"network","run":"01A","phase":"moving","nodes":[
				{"stack":"network","state":"finished","run":"01A","reason":"it finished"},
				{"stack":"app","after":["network"],"state":"waiting","reason":"it waits"}],"timeline":[]}`,
			want: `
STACK    STATE     RUN  AFTER    REASON
network  finished  01A           it finished
app      waiting        network  it waits

WHEN  WHO  WHAT
`,
		},
		{
			args: []string{"stacks", "list", "--account", "acme"},
			answer: `{"complete":false,"stacks":[
				{"account":"acme","stack":"asks","gate":{"open":true},"problems":[],"warnings":[{"label":"gantry:after=netwok","problem":"there is no stack \"netwok\"","remedy":"name a stack by its id (meant network?)"}],"policy":[{"name":"confirm","value":"manual"},{"name":"approvals","value":"2"}]},
				{"account":"acme","stack":"watched","gate":{"open":true},"problems":[],"policy":[{"name":"confirm","value":"manual"},{"name":"approvals","value":"0"}]},
				{"account":"acme","stack":"frozen","gate":{"open":false,"reason":"audit"},"problems":[{"label":"gantry:aprovals=2"}],"policy":[{"name":"confirm","value":"auto"},{"name":"approvals","value":"0"}]}]}`,
			want: `
STACK         CONFIRM  APPROVALS  GATE           PROBLEMS
acme/asks     manual   2          open
acme/watched  watches  -          open
acme/frozen   auto     -          closed: audit  gantry:aprovals=2
… and more than Gantry can list
warning: acme/asks, gantry:after=netwok: there is no stack "netwok"; name a stack by its id (meant network?)
`,
		},
		{
			args: []string{"runs", "explain", "acme/network/01A"},
			answer: `{"account":"acme","stack":"network","run":"01A","summary":"the plan deletes 1 resource",
				"waitingFor":{"what":"person","reason":"the plan deletes 1 resource","since":"2026-01-05T06:00:00Z","who":"the group platform"},
				"unblock":[{"who":"platform","how":"approve it"}],"next":[],"rules":[{"name":"approvals","value":"1","origin":"default","effect":"asks"}]}`,
			want: `
the plan deletes 1 resource

Waiting since:   2026-01-05T06:00:00Z
  for:           the group platform
Can unblock it:  platform: approve it

RULE       VALUE  FROM     EFFECT
approvals  1      default  asks
`,
		},
		{
			args:   []string{"runs", "explain", "acme/network/01A"},
			answer: `{"account":"acme","stack":"network","run":"01A","summary":"applied","unblock":[],"next":[],"rules":[{"name":"managed","value":"true","origin":"gantry:managed","effect":"applies"}]}`,
			want: `
applied

RULE     VALUE  FROM            EFFECT
managed  true   gantry:managed  applies
`,
		},
		{
			args:   []string{"runs", "explain", "acme/network/01A"},
			answer: `{"account":"acme","stack":"network","run":"01A","summary":"applied","unblock":[],"next":[],"rules":[]}`,
			want:   "\napplied\n",
		},
	} {
		gantry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, tt.answer) }))
		defer gantry.Close()
		out := newAPIRig(t).wants(nil, append(tt.args, "--url", gantry.URL)...)
		out = "\n" + out
		if diff := cmp.Diff(tt.want, out[max(0, strings.Index(out, tt.want[:5])):]); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.args, diff)
		}
	}
}
