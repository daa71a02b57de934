package server_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

func TestTheResourcesOfAPlanAreReadFromSpacelift(t *testing.T) {
	r := withStacks(t, &account{plans: map[spacelift.RunID]spacelift.PlannedResources{"01KDX3V4T8Q2M5N7P9R1S3T5V7": {
		Run: spacelift.Run{StateVersion: 5}, Complete: true, Resources: []spacelift.Resource{
			{Address: "aws_db_instance.main", Change: spacelift.ChangeReplace}, {Address: "aws_subnet.b", PreviousAddress: "aws_subnet.a", Change: spacelift.ChangeMove},
		},
	}}})
	w := r.get("/v1/accounts/acme/stacks/network-prod/runs/01KDX3V4T8Q2M5N7P9R1S3T5V7/resources", viewerToken)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := api.ResourceList{StateVersion: 5, Complete: true, Resources: []api.Resource{
		{Address: "aws_db_instance.main", Change: "replace"}, {Address: "aws_subnet.b", PreviousAddress: new("aws_subnet.a"), Change: "move"},
	}}
	if diff := cmp.Diff(want, decode[api.ResourceList](t, w)); diff != "" {
		t.Errorf("resources (-want +got)\n%s", diff)
	}
	wantProblem(t, r.get("/v1/accounts/acme/stacks/network-prod/runs/01UNKNOWN/resources", viewerToken), http.StatusNotFound, "not-found")
}
