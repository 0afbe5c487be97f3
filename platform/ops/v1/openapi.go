// Package opsv1 is the document of the platform's own REST API, by which operators see and repair what is stuck in a module.
package opsv1

import _ "embed"

// OpenAPI is the document, as `make generate` writes it in JSON from openapi.yaml. It rules: the server, the clients and what a
// request may hold are made from it.
//
//go:embed openapi.json
var OpenAPI []byte
