package openapi_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/gantryhq/gantry/openapi"
)

func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocumentIsValid(t *testing.T) {
	doc := load(t)
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
}

// The document as JSON is the document: tools that read no YAML lack nothing.
func TestTheDocumentAsJSON(t *testing.T) {
	text, err := openapi.JSON()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err == nil {
		err = doc.Validate(t.Context(), openapi3.EnableExamplesValidation())
	}
	if err != nil {
		t.Fatal(err)
	}
	of := func(doc *openapi3.T) (content any) {
		text, err := json.Marshal(doc)
		if err == nil {
			err = json.Unmarshal(text, &content)
		}
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	if diff := cmp.Diff(of(load(t)), of(doc)); diff != "" {
		t.Errorf("(-YAML +JSON):\n%s", diff)
	}
}

// TestHouseRules checks what every operation owes its callers.
func TestHouseRules(t *testing.T) {
	camel := regexp.MustCompile(`^[a-z]+([A-Z][a-z]+)*$`)
	for path, item := range load(t).Paths.Map() {
		for method, op := range item.Operations() {
			name := method + " " + path
			if !camel.MatchString(op.OperationID) {
				t.Errorf("%s: operationId %q is not verbNoun in camel case", name, op.OperationID)
			}
			if op.Summary == "" || op.Description == "" || len(op.Tags) != 1 {
				t.Errorf("%s: needs a summary, a description and one tag", name)
			}
			if op.Security == nil {
				t.Errorf("%s: says nothing of security; write an empty list if everybody may", name)
			}
			for _, p := range op.Parameters {
				if p.Value.Description == "" {
					t.Errorf("%s: parameter %s has no description", name, p.Value.Name)
				}
			}
			if op.Responses.Default() == nil {
				t.Errorf("%s: has no default response", name)
			}
			for status, r := range op.Responses.Map() {
				for kind, content := range r.Value.Content {
					if status[0] == '2' && len(content.Examples) == 0 {
						t.Errorf("%s: %s %s has no example", name, status, kind)
					}
				}
				if status[0] == '2' || status == "304" || (status == "503" && op.OperationID == "getReadiness") {
					continue
				}
				if r.Value.Content.Get("application/problem+json") == nil {
					t.Errorf("%s: %s is not a problem document", name, status)
				}
			}
			if op.RequestBody != nil && strings.HasPrefix(path, "/v1/") {
				if schema := op.RequestBody.Value.Content["application/json"].Schema.Value; schema.AdditionalProperties.Has == nil || *schema.AdditionalProperties.Has {
					t.Errorf("%s: its body takes members that it does not list; write additionalProperties: false", name)
				}
			}
			if op.RequestBody != nil && len(op.RequestBody.Value.Content["application/json"].Examples) == 0 {
				t.Errorf("%s: its body has no example", name)
			}
		}
	}
}

func TestEverySchemaAndPropertyIsDescribed(t *testing.T) {
	doc := load(t)
	for name, schema := range doc.Components.Schemas {
		if schema.Value.Description == "" {
			t.Errorf("schema %s has no description", name)
		}
		for property, s := range schema.Value.Properties {
			if s.Value.Description == "" {
				t.Errorf("schema %s: property %s has no description", name, property)
			}
		}
	}
}

// TestNoKeywordIsPassedOver keeps out the 3.1 keywords that the request
// validator, which reads a copy marked 3.0.3, would silently not enforce.
func TestNoKeywordIsPassedOver(t *testing.T) {
	var doc any
	if err := yaml.Unmarshal(openapi.Document, &doc); err != nil {
		t.Fatal(err)
	}
	passedOver := []string{"const", "patternProperties", "propertyNames", "if", "dependentRequired", "dependentSchemas", "prefixItems", "unevaluatedProperties", "contains"}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, child := range v {
				if slices.Contains(passedOver, key) && !strings.HasSuffix(path, "/properties") && !strings.Contains(path, "/value") {
					t.Errorf("%s/%s would not be enforced; say it another way", path, key)
				}
				walk(path+"/"+key, child)
			}
		case []any:
			for _, child := range v {
				walk(path, child)
			}
		}
	}
	walk("", doc)
}

// TestExamplesAreTheFiles keeps the bodies shown in the document equal to the
// files that tests replay.
func TestExamplesAreTheFiles(t *testing.T) {
	doc := load(t)
	for name, file := range map[string]string{
		"RunQueued": "run_tracked_queued", "RunUnconfirmed": "run_tracked_unconfirmed", "RunFinished": "run_tracked_finished",
		"InternalError": "internal_error", "Audit": "audit_trail_stack_create",
	} {
		content, err := os.ReadFile(filepath.Join("examples", file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := json.Unmarshal(content, &want); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		shown, err := json.Marshal(doc.Components.Examples[name].Value.Value)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(shown, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("example %s differs from %s.json (-file +document):\n%s", name, file, diff)
		}
	}
}
