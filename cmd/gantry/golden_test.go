package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the files in testdata/golden anew")

// screen is a terminal of a width.
type screen struct {
	bytes.Buffer
	columns int
}

func (s *screen) Columns() int { return s.columns }

// stopClock makes it an hour after noon for the ages that the program prints.
func stopClock(t *testing.T) {
	t.Helper()
	now = func() time.Time { return time.Date(2026, 1, 5, 13, 0, 0, 0, time.UTC) }
	t.Cleanup(func() { now = time.Now })
}

// answering returns the address of a Gantry that gives each path an answer.
func answeringWith(t *testing.T, answers map[string]string) string {
	t.Helper()
	gantry := fakeGantry(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := answers[r.URL.String()]
		if !known {
			answer, known = answers[r.URL.Path]
		}
		if !known {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"type":"urn:gantry:problem:not-found","title":"Not found","status":404,"detail":"` + r.URL.Path + `"}`
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(gantry.Close)
	return gantry.URL
}

// What each list and each show prints on terminals of 80, 100 and 200 columns, and
// into a pipe.
func TestScreens(t *testing.T) {
	newAPIRig(t)
	stopClock(t)
	t.Setenv("TERM", "dumb")
	t.Setenv("GANTRY_URL", answeringWith(t, screenAnswers))
	for _, args := range screens {
		name := strings.NewReplacer(" ", "-", "/", "-").Replace(args)
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			fmt.Fprintf(&got, "$ gantry %s\n", args)
			last := ""
			for _, columns := range []int{80, 100, 200, 0} {
				out, complaints := screenOf(t, columns, strings.Fields(args))
				fits(t, columns, out)
				if last != "" && out+complaints != last {
					got.WriteString(last)
				}
				last = out + complaints
				place := fmt.Sprintf("%d columns", columns)
				if columns == 0 {
					place = "into a pipe"
				}
				fmt.Fprintf(&got, "--- %s\n", place)
			}
			got.WriteString(last)
			file := filepath.Join("testdata", "golden", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if diff := cmp.Diff(string(want), got.String()); diff != "" || err != nil {
				t.Errorf("go test ./cmd/gantry -run TestScreens -update writes it anew (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

// screenOf returns what a command prints on a terminal, with 0 columns into a pipe.
func screenOf(t *testing.T, columns int, args []string) (out, complaints string) {
	t.Helper()
	terminal, errors := &screen{columns: columns}, &bytes.Buffer{}
	run(t.Context(), args, strings.NewReader(""), anyWriter(terminal), errors)
	return terminal.String(), errors.String()
}

// anyWriter returns the screen as a terminal, and one without columns as a pipe.
func anyWriter(s *screen) io.Writer {
	if s.columns == 0 {
		return &s.Buffer
	}
	return s
}

// fits checks that each line fits the terminal, unless it is a single long word beside
// the name of a fact.
func fits(t *testing.T, columns int, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		_, value, _ := strings.Cut(line, ":  ")
		if columns > 0 && len([]rune(line)) > columns && len(strings.Fields(value)) != 1 {
			t.Errorf("%d columns don't hold %q", columns, line)
		}
	}
}

var screens = []string{
	"runs list --limit 3", "waiting --limit 3", "runs show acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7", "runs explain acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7",
	"runs resources acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7",
	"stacks list", "stacks policy network-prod", "freezes list", "chains list", "chains show 01KDX3V4T8Q2M5N7P9R1S3T5V7",
	"deliveries list", "deliveries show 01KDX4A7B3C5D7E9F1G3H5J7K9", "audit list", "token list", "whoami", "accounts list", "findings list", "windows list", "windows list --stack network-prod", "version", "chains list -o name", "chains preview network-prod", "runs show acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7 --all --utc",
}

const (
	runPath       = "/v1/accounts/acme/stacks/network-prod/runs/01KDX3V4T8Q2M5N7P9R1S3T5V7"
	waitingAnswer = `{"what":"person","reason":"the plan (+0 ~0 -9) deletes 9 resources; 1 of 2 approvals: ann approved","since":"2026-01-05T12:48:00Z","until":"2026-01-05T14:48:00Z","who":"anyone in the group platform, but not jdoe","next":"Gantry confirms the plan"}`
	policyAnswer  = `[{"name":"managed","value":"true","origin":"gantry:managed"},{"name":"confirm","value":"manual","origin":"profile production (rule 3)"},
		{"name":"approvals","value":"2","origin":"rule production stacks need two people, locked","overruled":[{"value":"1","origin":"gantry:approvals=1","reason":"the rule is locked"}]},
		{"name":"selfApproval","value":"false","origin":"default"},{"name":"windows","value":"none","origin":"default"},{"name":"after","value":"","origin":"default"}]`
)

// screenAnswers are the answers of a busy account.
var screenAnswers = map[string]string{
	"/v1/accounts": `{"accounts":[{"name":"acme","webhook":{"id":"gantry","enabled":false},"lastReconcile":{"at":"2026-01-05T12:58:00Z","outcome":"done","inProgress":3,"open":3},
		"findings":[{"kind":"webhook-disabled","summary":"Spacelift switched the webhook off","fix":"switch it on","since":"2026-01-05T12:00:00Z"}]}]}`,
	"/v1/findings": `{"findings":[{"severity":"critical","account":"acme","kind":"webhook-disabled","since":"2026-01-05T12:00:00Z","summary":"Spacelift has switched the webhook off, so no notification arrives; Gantry reads the runs itself meanwhile, every two minutes","fix":"switch the webhook gantry on in Spacelift, or let Gantry do it with guardian.enable"}],
		"replicas":[{"name":"gantry-0"},{"name":"gantry-1","problem":"connection refused"}],"unknown":["initech"]}`,
	"/v1/version": `{"version":"0.1.0","contract":"0.1.0","replicas":[{"name":"gantry-0","version":"0.1.0","startedAt":"2026-01-05T08:00:00Z"},{"name":"gantry-1","problem":"connection refused"}]}`,
	"/v1/accounts/acme/windows?days=7": `{"account":"acme","from":"2026-01-05T13:00:00Z","until":"2026-01-12T13:00:00Z","windows":[{"name":"business-hours","timeZone":"Europe/Berlin"}],"freezes":[],"rows":[
		{"kind":"account","name":"acme","windows":[],"gate":{"open":true},"periods":[]},
		{"kind":"profile","name":"production","windows":["business-hours"],"gate":{"open":false,"reason":"outside window business-hours","until":"2026-01-06T08:00:00Z"},"next":"2026-01-06T08:00:00Z","periods":[]}]}`,
	"/v1/accounts/acme/windows?stack=network-prod&days=7": `{"account":"acme","from":"2026-01-05T13:00:00Z","until":"2026-01-12T13:00:00Z","windows":[{"name":"business-hours","timeZone":"Europe/Berlin"}],
		"freezes":[{"id":"01F","reason":"the audit of the year's end"}],"rows":[{"kind":"stack","name":"network-prod","windows":["business-hours"],"gate":{"open":true},
		"periods":[{"from":"2026-01-05T13:00:00Z","until":"2026-01-05T16:00:00Z","open":true,"windows":[],"freezes":[]},{"from":"2026-01-05T16:00:00Z","until":"2026-01-06T08:00:00Z","open":false,"windows":["business-hours"],"freezes":["01F"]}],
		"problems":[{"label":"gantry:window=nigths","problem":"there is no window nigths","remedy":"name one of the configuration (meant nights?)"}]}]}`,
	"/v1/runs": `{"runs":[
		{"account":"acme","stack":"network-prod","run":"01KDX3V4T8Q2M5N7P9R1S3T5V7","type":"TRACKED","state":"UNCONFIRMED","phase":"waiting","startedAt":"2026-01-05T12:40:00Z","stateVersion":5,"canDecide":["approve","reject"],
			"waitingFor":` + waitingAnswer + `,"delta":{"added":0,"changed":0,"deleted":9,"resources":42},"commit":{"hash":"9f2c1d7e4b","message":"Remove the old subnets","authorName":"Jane Doe","authorLogin":"jdoe"}},
		{"account":"acme","stack":"billing-production-eu-west-1","run":"01KDX2AAT8Q2M5N7P9R1S3T5V7","type":"TRACKED","state":"FINISHED","phase":"done","startedAt":"2026-01-05T10:00:00Z","endedAt":"2026-01-05T10:07:00Z"},
		{"account":"acme","stack":"app","run":"01KDX1BBT8Q2M5N7P9R1S3T5V7","type":"PROPOSED","state":"FAILED","phase":"done","startedAt":"2025-12-30T10:00:00Z","endedAt":"2025-12-30T10:01:00Z"}],"nextPageToken":"more"}`,
	runPath: `{"account":"acme","stack":"network-prod","stackName":"network / prod","run":"01KDX3V4T8Q2M5N7P9R1S3T5V7","type":"TRACKED","state":"UNCONFIRMED","stateVersion":5,"phase":"waiting",
		"url":"https://acme.app.spacelift.io/stack/network-prod/run/01KDX3V4T8Q2M5N7P9R1S3T5V7","startedAt":"2026-01-05T12:40:00Z","triggeredBy":"vcs/commit",
		"waitingFor":` + waitingAnswer + `,"delta":{"added":0,"changed":0,"deleted":9,"resources":42},"commit":{"hash":"9f2c1d7e4b","message":"Remove the old subnets","authorName":"Jane Doe"},
		"resources":{"stateVersion":5,"total":9,"deletes":9,"first":[{"address":"module.network.aws_subnet.private[\"eu-west-1a\"]","change":"delete"},{"address":"module.network.aws_subnet.private[\"eu-west-1b\"]","change":"delete"}]},
		"approvals":{"needed":2,"given":1,"group":"platform","excluded":["jdoe"],"decided":[{"verdict":"approve","by":"ann","at":"2026-01-05T12:50:00Z","note":"as announced"}]},
		"policy":` + policyAnswer + `,"timeline":[
		{"at":"2026-01-05T12:40:00Z","kind":"event","summary":"the run is QUEUED"},{"at":"2026-01-05T12:48:00Z","kind":"event","summary":"the run is UNCONFIRMED"},
		{"at":"2026-01-05T12:48:01Z","kind":"decision","summary":"the plan (0 to add, 0 to change, 9 to delete) deletes 9 resources, and rule production stacks need two people asks for 2 approvals of the group platform"},
		{"at":"2026-01-05T12:50:00Z","kind":"person","actor":"ann","summary":"ann approves: as announced"}]}`,
	runPath + "/explain": `{"account":"acme","stack":"network-prod","run":"01KDX3V4T8Q2M5N7P9R1S3T5V7","phase":"waiting","summary":"the plan (+0 ~0 -9) deletes 9 resources; 1 of 2 approvals: ann approved",
		"waitingFor":` + waitingAnswer + `,"unblock":[{"who":"platform without jdoe and ann","how":"approve or reject it"}],"next":[{"at":"2026-01-05T14:48:00Z","what":"the plan is discarded: nobody decided within 2h"}],
		"rules":[{"name":"approvals","value":"2","origin":"rule production stacks need two people, locked","effect":"asks","detail":"1 given","overruled":[{"value":"1","origin":"gantry:approvals=1","reason":"the rule is locked"}]},{"name":"approvers","value":"platform","origin":"gantry:approvers=platform","effect":"applies","detail":"only this group decides"}]}`,
	runPath + "/resources": `{"complete":true,"stateVersion":5,"resources":[{"address":"module.network.aws_subnet.private[\"eu-west-1a\"]","change":"delete"},{"address":"aws_route.b","change":"update","previousAddress":"aws_route.a"}]}`,
	"/v1/accounts/acme/stacks": `{"total":3,"stacks":[
		{"account":"acme","stack":"network-prod","gate":{"open":true},"enforcement":{"level":"advisory","reason":"the approval policy is not attached"},"problems":[],"warnings":[{"label":"gantry:after=netwok","problem":"there is no stack \"netwok\"","remedy":"name a stack by its id (meant network?)"}],"policy":[{"name":"confirm","value":"manual"},{"name":"approvals","value":"2"}]},
		{"account":"acme","stack":"watched","gate":{"open":true},"problems":[],"policy":[{"name":"confirm","value":"manual"},{"name":"approvals","value":"0"}]},
		{"account":"acme","stack":"frozen","gate":{"open":false,"reason":"freeze until the audit of the year's end is over (declared by otto)"},"problems":[{"label":"gantry:aprovals=2"}],"policy":[{"name":"confirm","value":"auto"},{"name":"approvals","value":"0"}]}]}`,
	"/v1/accounts/acme/stacks/network-prod/policy": `{"account":"acme","stack":"network-prod","name":"network / prod","managed":true,"labels":["gantry:managed","gantry:approvals=1"],"gate":{"open":true},"problems":[],"policy":` + policyAnswer + `}`,
	"/v1/accounts/acme/stacks/network-prod/followers": `{"account":"acme","stack":"network-prod","at":"2026-01-05T13:00:00Z","summary":"2 stacks follow network-prod, in 2 stages; 1 more would not run","native":["legacy"],
		"followers":[{"stack":"app-prod","after":["network-prod"],"stage":1,"released":true,"reason":"network-prod finished with changes","gate":{"open":false,"reason":"outside window business-hours"}},
		{"stack":"web-prod","after":["app-prod","network-prod"],"stage":2,"released":false,"reason":"it waits for app-prod"}],"excluded":[{"stacks":["docs"],"more":3,"reason":"not labelled gantry:managed"}]}`,
	"/v1/accounts/acme/freezes": `{"freezes":[{"id":"01KDF3V4T8Q2M5N7P9R1S3T5V7","reason":"the audit of the year's end","declaredBy":"otto","declaredAt":"2026-01-04T12:00:00Z","from":"2026-01-04T12:00:00Z","until":"2026-01-06T12:00:00Z"},
		{"id":"01KDF3V4T8Q2M5N7P9R1S3T5V8","reason":"incident 4711","declaredBy":"ann","declaredAt":"2026-01-05T12:59:30Z","from":"2026-01-05T12:59:30Z","stacks":["network-prod","billing-production-eu-west-1"]}]}`,
	"/v1/accounts/acme/chains": `{"chains":[{"account":"acme","stack":"network-prod","run":"01KDX3V4T8Q2M5N7P9R1S3T5V7","phase":"held","startedAt":"2026-01-05T12:00:00Z"},
		{"account":"acme","stack":"network-dev","run":"01KDX2AAT8Q2M5N7P9R1S3T5V7","phase":"done","startedAt":"2026-01-03T12:00:00Z","endedAt":"2026-01-03T12:20:00Z"}]}`,
	"/v1/accounts/acme/chains/01KDX3V4T8Q2M5N7P9R1S3T5V7": `{"account":"acme","stack":"network-prod","run":"01KDX3V4T8Q2M5N7P9R1S3T5V7","phase":"held","summary":"app-prod failed, and holds the 2 stacks after it","startedAt":"2026-01-05T12:00:00Z","heldSince":"2026-01-05T12:30:00Z",
		"nodes":[{"stack":"network-prod","state":"finished","run":"01KDX3V4T8Q2M5N7P9R1S3T5V7","reason":"it finished"},{"stack":"app-prod","after":["network-prod"],"state":"failed","run":"01KDX3W4T8Q2M5N7P9R1S3T5V7","reason":"its run FAILED in APPLYING; a retry that finishes releases the stacks after it"},
		{"stack":"web-prod","after":["app-prod","network-prod"],"state":"waiting","reason":"it waits for app-prod"}],
		"timeline":[{"at":"2026-01-05T12:00:00Z","kind":"event","summary":"run 01KDX3V4T8Q2M5N7P9R1S3T5V7 of network-prod finished and began the chain"},{"at":"2026-01-05T12:30:00Z","kind":"event","actor":"ann","summary":"app-prod failed"}]}`,
	"/v1/deliveries": `{"replicas":[{"name":"gantry-0"}],"deliveries":[
		{"id":"01KDX4A7B3C5D7E9F1G3H5J7KB","receivedAt":"2026-01-05T12:59:50Z","outcome":"refused","reason":"signature-missing","detail":"no signature came with it, so anyone may have sent it"},
		{"id":"01KDX4A7B3C5D7E9F1G3H5J7KA","receivedAt":"2026-01-05T12:48:00Z","outcome":"accepted","forwarding":"forwarded","account":"acme","stack":"network-prod","run":"01KDX3V4T8Q2M5N7P9R1S3T5V7","state":"UNCONFIRMED"}]}`,
	"/v1/deliveries/01KDX4A7B3C5D7E9F1G3H5J7K9": `{"delivery":{"id":"01KDX4A7B3C5D7E9F1G3H5J7K9","receivedAt":"2026-01-05T12:48:00Z","source":"203.0.113.7","replica":"gantry-0","outcome":"accepted","forwarding":"forwarded","forwardedAt":"2026-01-05T12:48:01Z","account":"acme","stack":"network-prod","run":"01KDX3V4T8Q2M5N7P9R1S3T5V7","state":"UNCONFIRMED","size":1841}}`,
	"/v1/audit": `{"entries":[{"sequence":5121,"at":"2026-01-05T12:50:00Z","by":"ann","action":"decideRun","account":"acme","stack":"network-prod","run":"01KDX3V4T8Q2M5N7P9R1S3T5V7","result":"done","why":"as announced"},
		{"sequence":5120,"at":"2026-01-05T12:49:00Z","by":"jdoe","action":"decideRun","account":"acme","stack":"network-prod","run":"01KDX3V4T8Q2M5N7P9R1S3T5V7","result":"refused","detail":"You can't approve your own run: gantry:approvals=2 excludes the author of the commit, jdoe"}]}`,
	"/v1/tokens": `{"tokens":[{"name":"ann","grants":[{"role":"approver"}],"groups":["platform"],"expiresAt":"2026-03-01T00:00:00Z","lastUsedAt":"2026-01-05T12:59:00Z"},{"name":"ci","grants":[{"role":"viewer","accounts":["acme"],"stacks":["network-*","billing-*"]},{"role":"operator","accounts":["acme"],"spaces":["development"]}],"groups":[]}]}`,
	"/v1/me":     `{"name":"ann","aliases":["ann@example.com"],"groups":["platform","dba"],"how":"token","credential":"ann","expiresAt":"2026-03-01T00:00:00Z","grants":[{"role":"approver","accounts":["acme"]}]}`,
}
