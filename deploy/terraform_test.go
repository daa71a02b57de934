package deploy_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// arguments lists what the provider's resources take, from its documentation,
// docs/resources/*.md of github.com/spacelift-io/terraform-provider-spacelift at
// v1.53.5. True is required, false optional.
var arguments = map[string]map[string]bool{
	"spacelift_named_webhook": {
		"enabled": true, "endpoint": true, "name": true, "space_id": true,
		"labels": false, "retry_on_failure": false, "secret_wo": false, "secret_wo_version": false,
		// "secret" exists and is deprecated: the state would hold it.
	},
	"spacelift_named_webhook_secret_header": {
		"key": true, "webhook_id": true, "value": false,
		// "value_wo" and "value_wo_version" exist, and an empty value is sent for
		// them: spacelift/resource_named_webhook_secret_header.go asks
		// ExtractWriteOnlyField for "value:value_wo_version".
	},
	"spacelift_policy": {
		"body": true, "name": true, "type": true, "description": false, "engine_type": false, "labels": false, "space_id": false,
	},
	"spacelift_stack": { // of which the examples use a part
		"branch": true, "name": true, "repository": true, "labels": false, "space_id": false,
	},
}

// metaArguments are Terraform's own.
var metaArguments = []string{"count", "for_each", "depends_on", "provider", "source", "version"}

const module = "terraform"

// blocks parses every .tf file of a folder and returns its blocks.
func blocks(t *testing.T, folder string) []*hclsyntax.Block {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.tf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no .tf files in %s: %v", folder, err)
	}
	var all []*hclsyntax.Block
	parser := hclparse.NewParser()
	for _, file := range files {
		parsed, problems := parser.ParseHCLFile(file)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		all = append(all, parsed.Body.(*hclsyntax.Body).Blocks...)
	}
	return all
}

func ofType(all []*hclsyntax.Block, kind string) map[string]*hclsyntax.Block {
	found := map[string]*hclsyntax.Block{}
	for _, b := range all {
		if b.Type == kind {
			found[strings.Join(b.Labels, ".")] = b
		}
	}
	return found
}

func folders(t *testing.T) []string {
	t.Helper()
	examples, err := filepath.Glob(filepath.Join(module, "examples", "*"))
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	return append(examples, module)
}

// value evaluates an argument, given variables.
func value(t *testing.T, b *hclsyntax.Block, name string, variables map[string]cty.Value) cty.Value {
	t.Helper()
	attribute, ok := b.Body.Attributes[name]
	if !ok {
		t.Fatalf("%s %v has no %s", b.Type, b.Labels, name)
	}
	v, problems := attribute.Expr.Value(&hcl.EvalContext{
		Variables: map[string]cty.Value{
			"var":  cty.ObjectVal(variables),
			"path": cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal(module)}),
		},
		Functions: map[string]function.Function{
			"setunion":   stdlib.SetUnionFunc,
			"jsonencode": stdlib.JSONEncodeFunc,
			"formatlist": stdlib.FormatListFunc,
			"templatefile": function.New(&function.Spec{
				Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "variables", Type: cty.DynamicPseudoType}},
				Type:   function.StaticReturnType(cty.String),
				Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
					content, err := os.ReadFile(args[0].AsString())
					if err != nil {
						return cty.NilVal, err
					}
					template, problems := hclsyntax.ParseTemplate(content, args[0].AsString(), hcl.InitialPos)
					if problems.HasErrors() {
						return cty.NilVal, problems
					}
					text, problems := template.Value(&hcl.EvalContext{Variables: args[1].AsValueMap()})
					if problems.HasErrors() {
						return cty.NilVal, problems
					}
					return text, nil
				},
			}),
			"file": function.New(&function.Spec{
				Params: []function.Parameter{{Name: "path", Type: cty.String}},
				Type:   function.StaticReturnType(cty.String),
				Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
					content, err := os.ReadFile(args[0].AsString())
					return cty.StringVal(string(content)), err
				},
			}),
		},
	})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return v
}

func TestTerraformUsesArgumentsThatExist(t *testing.T) {
	for _, folder := range folders(t) {
		for name, resource := range ofType(blocks(t, folder), "resource") {
			known, ok := arguments[resource.Labels[0]]
			if !ok {
				t.Errorf("%s: %s is of a type that the table doesn't know", folder, name)
				continue
			}
			given := slices.Collect(maps.Keys(resource.Body.Attributes))
			for _, a := range given {
				if _, ok := known[a]; !ok && !slices.Contains(metaArguments, a) {
					t.Errorf("%s: %s takes no %s", folder, name, a)
				}
			}
			for a, required := range known {
				if required && !slices.Contains(given, a) {
					t.Errorf("%s: %s lacks %s", folder, name, a)
				}
			}
		}
	}
}

// With the module's defaults the two ways of setting up make the same, so that
// `gantry setup --check` accepts what Terraform made.
func TestTerraformMakesWhatSetupMakes(t *testing.T) {
	all := blocks(t, module)
	variables := map[string]cty.Value{"webhook_url": cty.StringVal("https://gantry.example.com/webhook"), "webhook_secret": cty.StringVal(secret)}
	for name, v := range ofType(all, "variable") {
		if _, ok := v.Body.Attributes["default"]; ok {
			variables[name] = value(t, v, "default", nil)
		}
	}
	variables["labels"] = cty.SetValEmpty(cty.String)

	variables["enforce"], variables["api_key_ids"] = cty.True, cty.ListVal([]cty.Value{cty.StringVal("01GANTRY"), cty.StringVal("01STAGING")})

	r := newRig(t)
	w := r.wanted()
	w.Endpoint = "https://gantry.example.com/webhook"
	w.Enforce, w.Reviewers = deploy.EnforceOn, []string{"api::01GANTRY", "api::01STAGING"}
	r.setUp(w)
	hook, policy := r.webhook(), r.policy()
	labels := []cty.Value{}
	for _, l := range hook.Labels {
		labels = append(labels, cty.StringVal(l))
	}
	for resource, want := range map[string]map[string]cty.Value{
		"spacelift_named_webhook.gantry": {
			"name": cty.StringVal(hook.Name), "space_id": cty.StringVal(hook.Space), "endpoint": cty.StringVal(hook.Endpoint),
			"enabled": cty.BoolVal(hook.Enabled), "retry_on_failure": cty.BoolVal(hook.RetryOnFailure), "labels": cty.SetVal(labels),
			"secret_wo": cty.StringVal(secret),
		},
		"spacelift_policy.gantry":                      policyArguments(policy),
		"spacelift_policy.approval":                    policyArguments(r.policyNamed(spacelift.EnforcingApproval)),
		"spacelift_policy.plan":                        policyArguments(r.policyNamed(spacelift.EnforcingPlan)),
		"spacelift_named_webhook_secret_header.gantry": {"count": cty.NumberIntVal(0)},
	} {
		block := ofType(all, "resource")[resource]
		for name, v := range want {
			if got := value(t, block, name, variables); !got.Equals(v).True() {
				t.Errorf("%s.%s is %#v, and gantry setup makes it %#v", resource, name, got, v)
			}
		}
	}
	if policy.Body != deploy.Policy {
		t.Error("the policy that is set up is not the one in terraform/gantry.rego")
	}
}

// policyArguments are those that make a policy.
func policyArguments(p spacelift.Policy) map[string]cty.Value {
	all := map[string]cty.Value{
		"name": cty.StringVal(p.Name), "space_id": cty.StringVal(p.Space), "type": cty.StringVal(p.Type),
		"engine_type": cty.StringVal(p.Engine), "body": cty.StringVal(p.Body), "description": cty.StringVal(p.Description),
		"count": cty.NumberIntVal(1),
	}
	if len(p.Labels) > 0 {
		all["labels"] = cty.TupleVal([]cty.Value{cty.StringVal(p.Labels[0])})
	}
	return all
}

// What the module declares, applied to an account, holds a confirmation back.
func TestTerraformEnforces(t *testing.T) {
	r := newRig(t)
	viewer, err := r.admin.Viewer(t.Context())
	r.ok(err)
	id := strings.TrimPrefix(viewer.ID, "api::")
	variables := map[string]cty.Value{
		"enforce": cty.True, "space_id": cty.StringVal("root"), "api_key_ids": cty.ListVal([]cty.Value{cty.StringVal(id)}),
	}
	for _, name := range []string{"spacelift_policy.approval", "spacelift_policy.plan"} {
		block := ofType(blocks(t, module), "resource")[name]
		text := func(argument string) string { return value(t, block, argument, variables).AsString() }
		in := spacelift.PolicyInput{Name: text("name"), Type: text("type"), Engine: text("engine_type"), Body: text("body"), Space: text("space_id"), Description: text("description")}
		for _, l := range value(t, block, "labels", variables).AsValueSlice() {
			in.Labels = append(in.Labels, l.AsString())
		}
		_, err := r.admin.CreatePolicy(t.Context(), in)
		r.ok(err)
	}
	r.ok(r.AddStack(simulator.Stack{ID: "net", Labels: []string{"gantry:managed"}, Autodeploy: true}))
	run := r.reaches("net", simulator.Commit{}, nineDeletes, spacelift.RunStateUnconfirmed)
	if err := r.Confirm("author", run.Stack, run.Run, ""); err == nil {
		t.Error("Spacelift confirmed before Gantry's review")
	}
	r.ok(r.admin.ReviewRun(t.Context(), run, spacelift.ReviewApprove, ""))
	r.ok(r.Confirm("author", run.Stack, run.Run, ""))
	variables["enforce"] = cty.False
	for _, name := range []string{"spacelift_policy.approval", "spacelift_policy.plan"} {
		if count := value(t, ofType(blocks(t, module), "resource")[name], "count", variables); !count.RawEquals(cty.NumberIntVal(0)) {
			t.Errorf("%s exists without enforce", name)
		}
	}
}

func TestTerraformKeepsSecretsOut(t *testing.T) {
	variables := ofType(blocks(t, module), "variable")
	for name, want := range map[string][]string{"webhook_secret": {"sensitive", "ephemeral"}, "secret_header_value": {"sensitive"}} {
		for _, flag := range want {
			if !value(t, variables[name], flag, nil).True() {
				t.Errorf("variable %s is not %s", name, flag)
			}
		}
	}
}

// A module is called with inputs it has, and with all it requires.
func TestExamplesFitTheModule(t *testing.T) {
	inputs := ofType(blocks(t, module), "variable")
	for _, folder := range folders(t) {
		for name, call := range ofType(blocks(t, folder), "module") {
			for a := range call.Body.Attributes {
				if inputs[a] == nil && !slices.Contains(metaArguments, a) {
					t.Errorf("%s: module %s takes no %s", folder, name, a)
				}
			}
			for input, b := range inputs {
				_, optional := b.Body.Attributes["default"]
				if _, given := call.Body.Attributes[input]; !given && !optional {
					t.Errorf("%s: module %s lacks %s", folder, name, input)
				}
			}
		}
	}
}

func TestTerraformReadmeListsInputsAndOutputs(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(module, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `?([^`|]+?)`? \\|").FindAllStringSubmatch(string(readme), -1) {
		documented[row[1]] = row[2]
	}
	all := blocks(t, module)
	real := map[string]string{}
	for name, v := range ofType(all, "variable") {
		real[name] = "required"
		if d, ok := v.Body.Attributes["default"]; ok {
			source, err := os.ReadFile(d.SrcRange.Filename)
			if err != nil {
				t.Fatal(err)
			}
			real[name] = string(d.Expr.Range().SliceBytes(source))
		}
	}
	if diff := cmp.Diff(real, documented); diff != "" {
		t.Errorf("(-module +README)\n%s", diff)
	}
	for name := range ofType(all, "output") {
		if !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("output %s is not documented", name)
		}
	}
}

func TestTerraformIsFormatted(t *testing.T) {
	for _, folder := range folders(t) {
		files, err := filepath.Glob(filepath.Join(folder, "*.tf"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(hclwrite.Format(content)), string(content)); diff != "" {
				t.Errorf("%s (-formatted +file)\n%s", file, diff)
			}
		}
	}
	// Terraform's own formatter is stricter; where there is one, it counts.
	for _, program := range []string{"terraform", "tofu"} {
		path, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		if out, err := exec.CommandContext(t.Context(), path, "fmt", "-check", "-diff", "-recursive", module).Output(); err != nil {
			t.Errorf("%s fmt: %v\n%s", program, err, out)
		}
	}
}
