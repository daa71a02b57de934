package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// terraformPlan has what terraform show -json prints of a plan, as far as Gantry reads
// it: a database is replaced, a subnet changes, an image is read.
const terraformPlan = `{"format_version":"1.2","resource_changes":[
	{"address":"aws_db_instance.main","mode":"managed","type":"aws_db_instance","name":"main","change":{"actions":["delete","create"]}},
	{"address":"aws_subnet.b","previous_address":"aws_subnet.a","change":{"actions":["no-op"]}},
	{"address":"module.app.aws_ecs_service.api","change":{"actions":["update"]}},
	{"address":"aws_vpc.main","change":{"actions":["no-op"],"importing":{"id":"vpc-1"}}},
	{"address":"data.aws_ami.ubuntu","mode":"data","change":{"actions":["read"]}}]}`

// The examples of the documents say what the documents say of them.
func TestLintTriesThePoliciesOfTheDocumentsOnPlans(t *testing.T) {
	page, err := os.ReadFile("../../docs/how-to/resource-policies.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(profiles:.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("the page has no profile")
	}
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	fromPage := write("page.yaml", string(block[1]))
	for name, c := range map[string]struct {
		config, plan string
		prints       []string
	}{
		"terraform's own output": {fromPage, terraformPlan, []string{
			"The plan: 1 to add, 1 to change, 1 to delete.", "1 of platform: the stack's own", "2 of dba: it deletes or replaces a database or a part of the network (replaces aws_db_instance.main)",
		}},
		"a module that moves": {fromPage, `{"resources":[{"address":"module.network[0].aws_route.a","change":"delete"}]}`, []string{"2 of dba: it deletes or replaces a database or a part of the network (deletes module.network[0].aws_route.a)"}},
		"a small plan":        {fromPage, `{"resources":[{"address":"aws_s3_bucket.a","change":"delete"},{"address":"aws_s3_bucket.b","change":"add"}],"complete":true,"stateVersion":5}`, []string{"Gantry confirms the plan alone."}},
		"ten changes": {fromPage, `{"resources":[` + strings.TrimSuffix(strings.Repeat(`{"address":"aws_s3_bucket.a","change":"add"},`, 10), ",") + `]}`, []string{
			"confirmWhen  plan.total < 10  profile production  asks    the plan does not meet confirmWhen", "1 of platform: the stack's own",
		}},
		"the example": {exampleConfig, terraformPlan, []string{"2 of platform: the stack's own", "2 of dba: it deletes or replaces"}},
		"a key":       {exampleConfig, `{"resources":[{"address":"aws_kms_key.a","change":"delete"}]}`, []string{"It confirms nothing meanwhile: holdWhen (profile production) holds the plan: deletes aws_kms_key.a"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := lintWith(t, "--config", c.config, "--without-accounts", "--labels", "gantry:managed,gantry:profile=production", "--plan", write("plan.json", c.plan))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.prints {
				if !strings.Contains(out, want) {
					t.Errorf("it does not print %q:\n%s", want, out)
				}
			}
		})
	}
}

func TestLintRefusesPlansThatItCantJudge(t *testing.T) {
	config := filepath.Join(t.TempDir(), "gantry.yaml")
	if err := os.WriteFile(config, []byte("profiles:\n  - name: p\n    confirmWhen: resources.all(r, r.type == \"aws_vpc\")\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for plan, says := range map[string]string{
		`{"resources":[{"address":"urn:pulumi:x","change":"add"}]}`:                         "Gantry would hold the plan: confirmWhen (profile p) can't be evaluated: urn:pulumi:x is no address of Terraform's",
		`{"resources":[{"address":"aws_vpc.a","change":"add"}],"complete":false}`:           "more resources than the 1 that Gantry reads",
		`{"resource_changes":[{"address":"aws_vpc.a","change":{"actions":["transmute"]}}]}`: `does not know the change "transmute"`,
		`{"planned_values":{}}`: "neither resource_changes nor resources",
		`not JSON`:              "give what terraform show -json",
	} {
		file := filepath.Join(t.TempDir(), "plan.json")
		if err := os.WriteFile(file, []byte(plan), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := lintWith(t, "--config", config, "--without-accounts", "--labels", "gantry:managed,gantry:profile=p", "--plan", file); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", plan, err, says)
		}
	}
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("profiles:\n  - name: production\n    confirmWhen: plan.totl < 10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const place = "wrong.yaml:3:18: profiles[0].confirmWhen: line 1, column 5 of the expression: undefined field 'totl'"
	if _, err := lintWith(t, "--config", wrong, "--without-accounts"); err == nil || !strings.Contains(err.Error(), place) {
		t.Errorf("%v, want %q", err, place)
	}
	if _, err := lintWith(t, "--config", config, "--without-accounts", "--plan", "x"); err == nil || !strings.Contains(err.Error(), "--labels") {
		t.Errorf("without labels: %v", err)
	}
}
