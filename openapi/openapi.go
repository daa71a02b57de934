// Package openapi holds the contract: gantry.yaml is the source of the models,
// server and client in gen/, of Swagger UI and of request validation.
package openapi

import _ "embed"

// Document is gantry.yaml as written.
//
//go:embed gantry.yaml
var Document []byte
