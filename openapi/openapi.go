// Package openapi holds the contract: gantry.yaml is the source of the models,
// server and client in gen/, of Swagger UI and of request validation.
package openapi

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"
)

// Document is gantry.yaml as written.
//
//go:embed gantry.yaml
var Document []byte

// JSON returns the same document as JSON.
func JSON() ([]byte, error) {
	var document any
	if err := yaml.Unmarshal(Document, &document); err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	return json.Marshal(document)
}
