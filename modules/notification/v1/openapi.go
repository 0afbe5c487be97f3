// Package notificationv1 is the published language of the notification module: the document of its REST API.
package notificationv1

import _ "embed"

// OpenAPI is the document of the module's REST API, in YAML. It rules: the server, the clients and what a request may hold
// are made from it.
//
//go:embed openapi.yaml
var OpenAPI []byte
