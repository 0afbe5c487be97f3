package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"

	"cleave/platform/auth"
	"cleave/platform/fault"
)

const (
	jsonType         = "application/json"
	permissionPublic = "public"
	headerIfMatch    = "If-Match"
	headerKey        = "Idempotency-Key"
)

// The values of x-owner. The fourth is "path:" and the name of a path parameter that holds a user id.
const (
	ownerNone     = "none"     // nobody's: the scope "own" gives no access
	ownerSelf     = "self"     // the caller's own by construction
	ownerResource = "resource" // the use case asks auth.Owner
	ownerPath     = "path:"
)

// operation is one operation of a document, made ready for its requests.
type operation struct {
	id, method, pattern string // pattern in gin's notation
	route               *routers.Route
	public              bool
	permission          string
	owner               string
	ownerParam          string // of an owner "path:"
	streams             bool
	tagged              bool // its answer has an ETag
	unitOfWork          bool
	limit, limitBy      string // x-rate-limit and x-rate-limit-by
	params              []parameter
	query               map[string]queryParam
	defaults            [][2]string      // name and value, of the query
	body                *openapi3.Schema // nil: none
	bodyRequired        bool
	counted             sync.Once
	handlers            int // in gin's chain
}

type parameter struct {
	*openapi3.Parameter
	uuid bool // a part of the path, of which nothing is asked but that it is a UUID
}

type queryParam struct {
	repeatable bool
	boolean    bool
}

// Documents remembers OpenAPI documents that were read and found valid, which takes some ten milliseconds each. It is safe for
// concurrent use, and what it gives is not to be changed.
type Documents struct{ read sync.Map } // by module

// Read reads the document of a module, which is always the same one, ahead of whoever mounts it and learns whether it is valid.
func (d *Documents) Read(module string, data []byte) { _, _ = d.load(module, data) }

// load returns the document of a module. One that is being read is waited for.
func (d *Documents) load(module string, data []byte) (*openapi3.T, error) {
	if d == nil {
		return loadDocument(data)
	}
	read, known := d.read.Load(module)
	if !known {
		read, _ = d.read.LoadOrStore(module, sync.OnceValues(func() (*openapi3.T, error) { return loadDocument(data) }))
	}
	return read.(func() (*openapi3.T, error))()
}

func loadDocument(data []byte) (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	if doc.IsOpenAPI31OrLater() {
		return nil, fmt.Errorf("the OpenAPI document is %s: only 3.0 is validated fast enough", doc.OpenAPI)
	}
	if err := doc.Validate(context.Background(), openapi3.DisableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("the OpenAPI document is not valid: %w", err)
	}
	return doc, nil
}

// compile returns the document's operations, and every way in which they are not as the platform
// needs them.
func compile(doc *openapi3.T, policy *auth.Policy) (ops []*operation, errs []error) {
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			op := &operation{id: o.OperationID, method: method, pattern: ginPattern(path), unitOfWork: method == http.MethodPost}
			op.route = &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: o}
			for _, err := range op.compile(policy) {
				errs = append(errs, fmt.Errorf("operation %s (%s %s): %w", op.id, method, path, err))
			}
			ops = append(ops, op)
		}
	}
	byID := func(a, b *operation) int { return strings.Compare(a.id, b.id) }
	slices.SortFunc(ops, byID)
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return ops, errs
}

// ginPattern turns /orders/{order_id} into /orders/:order_id.
func ginPattern(path string) string {
	return strings.NewReplacer("{", ":", "}", "").Replace(path)
}

func (op *operation) compile(policy *auth.Policy) []error {
	o := op.route.Operation
	errs := op.compileAccess(policy)
	errs = append(errs, op.compileParams()...)
	if o.RequestBody != nil {
		body := o.RequestBody.Value
		media := body.Content[jsonType]
		if media == nil || media.Schema == nil || len(body.Content) != 1 {
			errs = append(errs, errors.New("the request body must be application/json with a schema, and nothing else"))
		} else {
			op.body, op.bodyRequired = media.Schema.Value, body.Required
			errs = append(errs, checkLimits(media.Schema, "request body", nil)...)
		}
	}
	errs = append(errs, op.compileLimit()...)
	op.tagged = tagged(o)
	if ok := o.Responses.Status(http.StatusOK); ok != nil && ok.Value.Content[eventStream] != nil {
		op.streams = true
	}
	return append(errs, op.checkAnswers()...)
}

func (op *operation) compileAccess(policy *auth.Policy) (errs []error) {
	o := op.route.Operation
	op.permission, _ = o.Extensions["x-permission"].(string)
	op.owner, _ = o.Extensions["x-owner"].(string)
	security := &op.route.Spec.Security
	if o.Security != nil {
		security = o.Security
	}
	op.public = op.permission == permissionPublic
	switch {
	case op.permission == "":
		errs = append(errs, errors.New("x-permission is missing"))
	case op.public != (len(*security) == 0):
		errs = append(errs, errors.New("x-permission is public if and only if security is []"))
	case !op.public && !policy.Known(op.permission):
		errs = append(errs, fmt.Errorf("no policy grants the permission %q", op.permission))
	}
	switch {
	case op.public && op.owner != ownerNone:
		errs = append(errs, errors.New("x-owner of a public operation must be none"))
	case op.owner == ownerNone, op.owner == ownerSelf, op.owner == ownerResource:
	default:
		name, ok := strings.CutPrefix(op.owner, ownerPath)
		if !ok || !strings.Contains(op.pattern+"/", "/:"+name+"/") {
			errs = append(errs, fmt.Errorf("x-owner %q is none of none, self, resource and path:PARAMETER", op.owner))
		}
		op.ownerParam = name
	}
	return errs
}

func (op *operation) compileParams() (errs []error) {
	op.query = map[string]queryParam{}
	var hasKey bool
	for _, ref := range slices.Concat(op.route.Operation.Parameters, op.route.PathItem.Parameters) {
		p := ref.Value
		if slices.ContainsFunc(op.params, func(q parameter) bool { return q.In == p.In && q.Name == p.Name }) {
			continue // an operation's parameter hides the path's
		}
		if p.Schema == nil {
			errs = append(errs, fmt.Errorf("the parameter %s has no schema", p.Name))
			continue
		}
		errs = append(errs, checkLimits(p.Schema, "parameter "+p.Name, nil)...)
		schema := p.Schema.Value
		if p.In == openapi3.ParameterInQuery {
			op.query[p.Name] = queryParam{repeatable: schema.Type.Is(openapi3.TypeArray), boolean: schema.Type.Is(openapi3.TypeBoolean)}
			if schema.Default != nil {
				op.defaults = append(op.defaults, [2]string{p.Name, formatDefault(schema.Default)})
			}
		}
		if p.In == openapi3.ParameterInHeader && p.Name == headerKey {
			hasKey = true // checked where it is used, with codes of its own
			continue
		}
		op.params = append(op.params, parameter{p, p.In == openapi3.ParameterInPath && isUUID(schema)})
	}
	if op.unitOfWork && !hasKey {
		errs = append(errs, errors.New("a POST must have the parameter Idempotency-Key"))
	}
	return errs
}

func formatDefault(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// checkAnswers names the statuses that the platform may answer with and the document leaves out.
func (op *operation) checkAnswers() (errs []error) {
	kinds := []fault.Kind{fault.Invalid, fault.Internal, fault.Unavailable}
	if !op.public {
		kinds = append(kinds, fault.Unauthenticated, fault.Forbidden)
	}
	if op.body != nil {
		kinds = append(kinds, fault.TooLarge, fault.Unsupported, fault.Unprocessable)
	}
	if op.unitOfWork {
		kinds = append(kinds, fault.Conflict, fault.Unprocessable)
	}
	if op.limit != "" {
		kinds = append(kinds, fault.Exhausted)
	}
	if slices.ContainsFunc(op.params, isIfMatch) {
		kinds = append(kinds, fault.PreconditionRequired)
	}
	slices.Sort(kinds)
	for _, k := range slices.Compact(kinds) {
		status := answers[k].status
		r := op.route.Operation.Responses.Status(status)
		if r == nil || r.Value.Content[problemType] == nil {
			errs = append(errs, fmt.Errorf("the answer %d with %s is not described", status, problemType))
		}
	}
	return errs
}

func isIfMatch(p parameter) bool {
	return p.In == openapi3.ParameterInHeader && p.Name == headerIfMatch
}
