// Package notificationv1 is the published language of the notification module: the document of its REST API.
package notificationv1

import _ "embed"

// OpenAPI is the document of the module's REST API, as `make generate` writes it in JSON from openapi.yaml. It rules: the
// server, the clients and what a request may hold are made from it.
//
//go:embed openapi.json
var OpenAPI []byte
