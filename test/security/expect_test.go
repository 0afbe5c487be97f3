package security_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/ops"
	opsv1 "cleave/platform/ops/v1"
	"cleave/platform/rest"
)

// operation is what a document says about one.
type operation struct {
	id, method, path, permission, owner string
	body                                bool
}

// rules are the lines of all policy files.
type rules struct{ grants, inherits [][]string }

func readDocuments(t *testing.T) ([]operation, rules) {
	t.Helper()
	var policy rules
	policy.read(ops.Policy)
	for _, s := range specs {
		policy.read(s.Policy)
	}
	var operations []operation
	for path, item := range document(t)["paths"].(object) {
		for method, v := range item.(object) {
			o, ok := v.(object)
			if !ok || o["operationId"] == nil {
				continue
			}
			permission, _ := o["x-permission"].(string)
			owner, _ := o["x-owner"].(string)
			operations = append(operations, operation{
				id: o["operationId"].(string), method: strings.ToUpper(method), path: path, permission: permission, owner: owner, body: o["requestBody"] != nil,
			})
		}
	}
	slices.SortFunc(operations, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return operations, policy
}

// document is the API of all modules, and the operators'.
func document(t *testing.T) object {
	t.Helper()
	docs := map[string][]byte{ops.Name: opsv1.OpenAPI}
	for _, s := range specs {
		docs[s.Name] = s.OpenAPI
	}
	merged, err := rest.Merge(docs)
	require.NoError(t, err)
	var doc object
	require.NoError(t, json.Unmarshal(merged, &doc))
	return doc
}

func (r *rules) read(text string) {
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ", ")
		switch fields[0] {
		case "p":
			r.grants = append(r.grants, fields[1:])
		case "g":
			r.inherits = append(r.inherits, fields[1:])
		}
	}
}

// evaluate returns own, any or "".
func (r *rules) evaluate(roles []string, permission string) (scope string) {
	roles = slices.Clone(roles)
	for i := 0; i < len(roles); i++ {
		for _, g := range r.inherits {
			if g[0] == roles[i] && !slices.Contains(roles, g[1]) {
				roles = append(roles, g[1])
			}
		}
	}
	for _, p := range r.grants {
		if slices.Contains(roles, p[0]) && p[1] == permission && scope != "any" {
			scope = p[2]
		}
	}
	return scope
}

var private = regexp.MustCompile(`(?i)password|hash|secret|token`)

// disclosed are the properties of responses that look private and are meant to be there.
var disclosed = []string{
	"TokenPair.access_token", "TokenPair.refresh_token", "TokenPair.token_type", // what logging in is for
	"AccessToken.access_token", "AccessToken.token_type", // what an API key is exchanged for
	"CreatedOAuthClient.client_secret", "SecondFactorSecret.secret", // shown once, to whom made it
	"AuditEntry.hash", // of the entry
}

// TestProperties looks at the schemas (OWASP API3): a body takes no property that it does not name, and a response has none that
// looks private.
func TestProperties(t *testing.T) {
	t.Parallel()
	doc := document(t)
	schemas := doc["components"].(object)["schemas"].(object)
	shown := map[string]bool{}
	var walk func(name string, v any, visit func(name string, schema object))
	seen := map[string]bool{}
	walk = func(name string, v any, visit func(string, object)) {
		switch v := v.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok {
				target := ref[strings.LastIndexByte(ref, '/')+1:]
				if strings.Contains(ref, "/schemas/") && !seen[target] {
					seen[target] = true
					walk(target, schemas[target], visit)
				}
				return
			}
			if v["properties"] != nil {
				visit(name, v)
			}
			for key, child := range v {
				walk(name+"."+key, child, visit)
			}
		case []any:
			for _, child := range v {
				walk(name, child, visit)
			}
		}
	}
	for _, item := range doc["paths"].(object) {
		for _, v := range item.(object) {
			o, ok := v.(object)
			if !ok {
				continue
			}
			clear(seen)
			walk("body", o["requestBody"], func(name string, schema object) {
				require.Equal(t, false, schema["additionalProperties"], "%s: %s", o["operationId"], name)
			})
			clear(seen)
			walk("response", o["responses"], func(name string, schema object) {
				for property := range schema["properties"].(object) {
					full := name + "." + property
					if !private.MatchString(property) {
						continue
					}
					require.Contains(t, disclosed, full, "of %v", o["operationId"])
					shown[full] = true
				}
			})
		}
	}
	require.Len(t, shown, len(disclosed), "the list names what no response has")
}
