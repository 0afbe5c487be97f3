// Package rest serves the modules' REST APIs on one gin engine.
//
// Each module brings an OpenAPI document and the routes generated from it. The
// document rules: a request is authenticated, authorised (x-permission, x-owner)
// and validated against it before the module's handler runs, a POST runs in one
// unit of work that also stores its answer under the Idempotency-Key, and every
// error leaves as RFC 9457 problem+json. A route that the document does not
// describe, or the other way round, stops the start.
//
// Which status a bad request gets: 401 and 403 come first. What cannot be read as
// described is a 400: malformed JSON, a wrong type, a missing or unknown field, and
// everything about parameters and headers. A body that is read well but holds a
// value out of its documented range, length, pattern or set is a 422, and so is
// what only a business rule can refuse.
//
// A handler gets a *gin.Context of its own and may use it as a context.Context: it is not given to
// another request. It ends with the request. Routes have one handler and no middleware.
package rest

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"

	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/traffic"
)

const (
	defaultMaxBody        = 1 << 20 // bytes
	defaultRequestTimeout = 15 * time.Second
)

// Options configure an API. Verifier, Policy and Log are required.
type Options struct {
	Verifier       func(module string) *auth.Verifier // accepts the tokens meant for the module (aud)
	Policy         *auth.Policy
	Log            *slog.Logger
	MaxBody        int64         // bytes of a request body; 0 means 1 MiB
	RequestTimeout time.Duration // of everything but event streams; 0 means 15 s
	Now            func() time.Time
	Version        string // of the merged OpenAPI document
	// Ready says whether the process can serve, with the checks behind that; nil means it always can.
	Ready func(ctx context.Context, verbose bool) (ok bool, checks []Check)
	// Limits are the limits of the classes of operations; classes without one are not limited.
	Limits map[string]Limit
	// TrustedProxies are the addresses and networks whose X-Forwarded-For is believed.
	TrustedProxies []string
	// CORSOrigins are the origins of other sites whose pages may read the answers (Fetch, CORS protocol).
	CORSOrigins []string
	// HTTPS makes browsers use nothing else from then on (RFC 6797).
	HTTPS bool
	// Traced says that spans are exported, so that each request needs one.
	Traced bool
	// Metrics is served at /metrics to this machine alone; nil serves nothing.
	Metrics http.Handler
	// Observer learns how each request was answered; nil is none.
	Observer Observer
	// Traffic counts what each operation does; nil: not at all.
	Traffic *traffic.Recorder
	// Documents keeps what was read of documents, for a process that makes several APIs; nil keeps nothing.
	Documents *Documents
	// Exact makes every response that its document does not describe an error that is logged and
	// answered with 500. It is for tests: such a response is a defect of the module or of the platform.
	Exact bool
}

// API is the HTTP side of a process. Add the modules, then serve Handler.
type API struct {
	o         Options
	engine    *gin.Engine
	handler   http.Handler
	inFlight  inFlight
	documents map[string]*openapi3.T // by module
	elsewhere map[string]Elsewhere   // by module that another process runs
	limits    map[*db.DB]*limits
	shared    []*limitStore // counts that replicas share
	// The operations, which are complete before serving begins.
	operations map[routeKey]observed
	draining   atomic.Bool
	streams    context.Context // of event streams; ends when draining begins
	endAll     context.CancelFunc
}

// releaseMode ends gin's debug mode, which prints to stdout, where commands write their data. The mode is a plain variable of gin's, so
// it is written once and before any engine reads it.
var releaseMode = sync.OnceFunc(func() { gin.SetMode(gin.ReleaseMode) })

// New returns an API without modules.
func New(o Options) *API {
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = defaultRequestTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	releaseMode()
	a := &API{o: o, engine: gin.New(), documents: map[string]*openapi3.T{}, elsewhere: map[string]Elsewhere{}, operations: map[routeKey]observed{}, limits: map[*db.DB]*limits{}}
	a.streams, a.endAll = context.WithCancel(context.Background())
	e := a.engine
	e.ContextWithFallback = true // else a handler's cancellation never reaches the database
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	// Only X-Forwarded-For, from these only: gin's own default believes everyone.
	e.RemoteIPHeaders = []string{headerForwarded}
	if err := e.SetTrustedProxies(o.TrustedProxies); err != nil {
		panic(err) // the configuration has checked them
	}
	e.Use(a.edge)
	e.NoRoute(noRoute)
	e.NoMethod(noMethod)
	a.routeHealth()
	a.routeDocs()
	a.routeMetrics()
	a.handler = compressed(continueTrace(e))
	if len(o.CORSOrigins) > 0 {
		a.handler = crossOrigin(o.CORSOrigins).Handler(a.handler)
	}
	return a
}

// Handler serves the API.
func (a *API) Handler() http.Handler { return a.handler }

// Draining begins the end: /readyz says no, every response closes its connection, and event streams
// end, so that clients move to another replica while requests under way are finished.
func (a *API) Draining() {
	a.draining.Store(true)
	a.endAll()
}

// EndStreams ends the event streams: their clients connect anew.
func (a *API) EndStreams() { a.endAll() }
