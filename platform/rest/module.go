package rest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/fault"
)

// handlersPerRoute are edge, serve and the module's handler.
const handlersPerRoute = 3

// mounted is a module's part of the API.
type mounted struct {
	api       *API
	db        *db.DB // nil: the path parameter module names one of databases
	databases map[string]*db.DB
	verifier  *auth.Verifier
	limits    *limits // nil: none
	// By method, then by gin's route pattern: what FullPath gives at request time.
	operations map[string]map[string]*operation
}

// Module adds a module's operations. The document (OpenAPI 3.0, YAML or JSON) and the routes that
// register makes must match one to one, and every operation must say in x-permission and x-owner
// whom it is for; else the error lists all that is amiss. The POSTs run in d's unit of work and keep
// their answers in its table idempotency_keys. Call it before serving.
func (a *API) Module(name string, openapi []byte, d *db.DB, register func(gin.IRouter)) error {
	return a.mount(name, openapi, &mounted{api: a, db: d}, d, register)
}

// Platform adds operations that are about one of several modules, as Module does. The path parameter
// module says which; the POSTs run in that one's unit of work. For a module that is not among the
// databases they are NotFound, code module_unknown.
func (a *API) Platform(name string, openapi []byte, databases map[string]*db.DB, register func(gin.IRouter)) error {
	var counts *db.DB // that replicas share
	for _, module := range slices.Sorted(maps.Keys(databases)) {
		counts = databases[module]
		break
	}
	return a.mount(name, openapi, &mounted{api: a, databases: databases}, counts, register)
}

// ModuleUnknown is the fault of an operation about a module that this process does not run.
func ModuleUnknown(module string) error {
	return fault.New(fault.NotFound, "module_unknown", "there is no module %q here", module)
}

func (m *mounted) database(c *gin.Context) (*db.DB, error) {
	if m.db != nil {
		return m.db, nil
	}
	name := c.Param("module")
	if d := m.databases[name]; d != nil {
		return d, nil
	}
	return nil, ModuleUnknown(name)
}

func (a *API) mount(name string, openapi []byte, m *mounted, counts *db.DB, register func(gin.IRouter)) error {
	doc, err := a.o.Documents.load(name, openapi)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	operations, errs := compile(doc, a.o.Policy)
	m.verifier, m.operations = a.o.Verifier(name), map[string]map[string]*operation{}
	m.limits = a.limitsOf(counts)
	for _, op := range operations {
		if m.operations[op.method] == nil {
			m.operations[op.method] = map[string]*operation{}
		}
		m.operations[op.method][op.pattern] = op
	}
	before := a.engine.Routes()
	if err := registerRoutes(a.engine.Group("/", m.serve), register); err != nil {
		errs = append(errs, err)
	}
	routed := map[*operation]bool{}
	for _, r := range a.engine.Routes() {
		if slices.ContainsFunc(before, func(b gin.RouteInfo) bool { return b.Method == r.Method && b.Path == r.Path }) {
			continue
		}
		op := m.operations[r.Method][r.Path]
		if op == nil {
			errs = append(errs, fmt.Errorf("the route %s %s has no operation in the document", r.Method, r.Path))
			continue
		}
		routed[op] = true
		a.operations[routeKey{r.Method, r.Path}] = observed{id: op.id, source: a.o.Traffic.Operation(name, op.id)}
	}
	for _, op := range operations {
		if !routed[op] {
			errs = append(errs, fmt.Errorf("the operation %s has no route: %s %s", op.id, op.method, op.pattern))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the REST API of module %s:\n%w", name, err)
	}
	a.documents[name] = doc
	return nil
}

// registerRoutes returns gin's panic over a bad or repeated route as an error.
func registerRoutes(group *gin.RouterGroup, register func(gin.IRouter)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("register the routes: %v", v)
		}
	}()
	register(group)
	return nil
}

// serve is the middleware around every handler of the module.
func (m *mounted) serve(c *gin.Context) {
	c.Abort() // call runs the handler
	op := m.operations[c.Request.Method][c.FullPath()]
	if m.db == nil && op != nil {
		if to := m.api.elsewhere[c.Param("module")]; to != nil {
			m.api.handOver(to, op.streams)(c)
			return
		}
	}
	if op == nil { // Module refuses such a route
		HandlerError(c, errors.New("a route without an operation"))
		finish(c)
		return
	}
	if op.tagged {
		asIs(c)
	}
	ctx, cancel := m.limit(c.Request.Context(), op)
	defer cancel()
	if m.api.o.Exact && !op.streams {
		m.exactly(ctx, c, op)
		return
	}
	m.run(ctx, c, op)
}

// run takes the request through authorisation, validation and the handler, and answers it.
func (m *mounted) run(ctx context.Context, c *gin.Context, op *operation) {
	limited := m.limits.rates(op)
	err := limited.admitAddress(c)
	if err == nil {
		ctx, err = m.authorise(ctx, c, op)
	}
	if p, ok := auth.From(ctx); ok && op.streams {
		var stop func()
		ctx, stop = m.verifier.While(ctx, p)
		defer stop()
	}
	c.Request = c.Request.WithContext(ctx)
	var body []byte
	if err == nil {
		body, err = m.validate(c, op)
	}
	if err == nil {
		err = limited.admitIdentity(c, op)
	}
	switch {
	case err != nil:
	case op.unitOfWork:
		err = m.execute(c, op, body)
	default:
		err = op.call(c, c.Request, c.Writer)
	}
	if err != nil {
		HandlerError(c, err)
		finish(c)
	}
}

// call runs the handler and returns the error it recorded. The handler gets a gin context of its own:
// it passes that on as a context.Context, and drivers look at it from goroutines that may outlive the
// request, while gin gives the original to the next one.
func (op *operation) call(c *gin.Context, r *http.Request, w gin.ResponseWriter) error {
	op.counted.Do(func() { op.handlers = len(c.HandlerNames()) })
	if op.handlers != handlersPerRoute {
		return fmt.Errorf("the route of operation %s has middleware of its own, which would not run", op.id)
	}
	own := c.Copy()
	own.Request, own.Writer = r, w
	c.Handler()(own)
	if last := own.Errors.Last(); last != nil {
		return last.Err
	}
	return nil
}
