// Package userv1 is the published language of the user module: the calls that other modules may make, the events they may
// follow, and the document of its REST API.
package userv1

import _ "embed"

// OpenAPI is the document of the module's REST API, as `make generate` writes it in JSON from openapi.yaml. It rules: the
// server, the clients and what a request may hold are made from it.
//
//go:embed openapi.json
var OpenAPI []byte
