package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Events are followed over broken streams, each once.
func TestEvents(t *testing.T) {
	newAPIRig(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "2026-01-05T12:48:00Z  run      acme/network/01A  UNCONFIRMED  waiting  the plan deletes 9 resources\n2026-01-05T13:00:00Z  chain    acme/network/01A  held\n2026-01-05T13:00:00Z  account  acme  1 findings\n"},
		{[]string{"-o", "name"}, "acme/network/01A\nacme/network/01A\nacme\n"},
		{[]string{"--jq", ".event + \" \" + .id"}, "run 2\nchain 3\naccount 4\n"},
	} {
		stopClock(t)
		ctx, interrupt := context.WithCancel(t.Context())
		var asked []string
		gantry := fakeGantry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.RawQuery+" "+r.Header.Get("Last-Event-ID"))
			switch len(asked) {
			case 1:
				fmt.Fprint(w, "retry: 1\n\nevent: ready\nid: 1\ndata: {}\n\n: still here\n\n"+
					`event: run`+"\nid: 2\n"+`data: {"account":"acme","stack":"network","run":"01A","state":"UNCONFIRMED","phase":"waiting","changedAt":"2026-01-05T12:48:00Z","waitingFor":{"reason":"the plan deletes 9 resources"}}`+"\n\n")
			case 2:
				fmt.Fprint(w, "event: reset\nid: 2\ndata: {}\n\nevent: chain\nid: 3\n"+`data: {"account":"acme","stack":"network","run":"01A","phase":"held"}`+"\n\n"+
					"event: account\nid: 4\n"+`data: {"name":"acme","findings":[{}]}`+"\n\n")
			default:
				interrupt()
			}
		}))
		defer gantry.Close()
		var out, complaints strings.Builder
		code := run(ctx, append([]string{"events", "--stack", "net*", "--url", gantry.URL}, tt.args...), nil, &out, &complaints)
		if diff := cmp.Diff(tt.want, out.String()); diff != "" || code != 0 || !strings.Contains(complaints.String(), "list what you need to know anew") {
			t.Errorf("%v: exit code %d, %s (-want +got):\n%s", tt.args, code, complaints.String(), diff)
		}
		if diff := cmp.Diff([]string{"stack=net%2A ", "stack=net%2A 2", "stack=net%2A 4"}, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	}
	r := newAPIRig(t)
	r.as("gantry_wrong")
	r.refused(exitRefused, []string{"invalid token"}, "events")
}
