package main

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gin-gonic/gin"
	"google.golang.org/grpc"

	"cleave/platform/config"
	"cleave/platform/module"
	"cleave/platform/rest"
	"cleave/platform/telemetry"
)

// The journey of two modules without a database in its path: near answers two
// requests, one of which calls far, and far the other two.
const (
	barePlace  = "/api/v1/near/place"
	bareRead   = "/api/v1/near/read"
	bareCredit = "/api/v1/far/credit"
	bareList   = "/api/v1/far/list"
)

var barePaths = []string{barePlace, bareRead, bareCredit, bareList}

// bare returns what answers the requests; far is where the methods are served.
func (s *wiredStore) bare(far grpc.ClientConnInterface) map[string]func(context.Context) (string, error) {
	return map[string]func(context.Context) (string, error){
		barePlace: func(ctx context.Context) (string, error) {
			if _, err := ask(ctx, far, methodHold, "order buyer"); err != nil {
				return "", err
			}
			return s.order(ctx, "")
		},
		bareRead:   func(ctx context.Context) (string, error) { return s.order(ctx, "") },
		bareCredit: func(ctx context.Context) (string, error) { return ask(ctx, far, methodCredit, "buyer") },
		bareList:   func(ctx context.Context) (string, error) { return ask(ctx, far, methodList, "buyer") },
	}
}

// serveBare is `bench bare`: two modules on Cleave that do nothing, so that what
// remains is Cleave.
func serveBare([]string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load(config.Options{Env: os.Environ(), Sections: map[string]any{"near": nil, "far": nil}})
	if err != nil {
		return err
	}
	lines := telemetry.NewLines(os.Stderr)
	defer func() { _ = lines.Flush() }()
	log := telemetry.NewLogger(lines, cfg.Log.Level, cfg.Log.Format)
	host, err := module.NewHost(cfg, module.Options{Log: log, Out: os.Stderr, Version: "bench"}, bareModules()...)
	if err != nil {
		return err
	}
	return host.Run(ctx)
}

func bareModules() []module.Spec {
	issued := false // one module of a process has to issue tokens, although nobody has any
	keys := func(p module.Parts) module.Parts {
		if !issued {
			issued, p.Keys = true, noKeys{}
		}
		return p
	}
	store := &wiredStore{}
	var policy strings.Builder
	for _, m := range []string{methodHold, methodCredit, methodTell, methodList} {
		fmt.Fprintf(&policy, "rpc, near, %s\n", m[1:])
	}
	far := module.Spec{
		Name: "far", Migrations: eventTables(), Policy: policy.String(), OpenAPI: bareDocument("far", bareCredit, bareList),
		Wire: func(*module.Env) (module.Parts, error) {
			return keys(module.Parts{
				RPC: func(to grpc.ServiceRegistrar) { to.RegisterService(store.methods(), store) },
				REST: func(r gin.IRouter) {
					text(r, bareCredit, func(ctx context.Context) (string, error) { return store.credit(ctx, "buyer") })
					text(r, bareList, func(ctx context.Context) (string, error) { return store.list(ctx, "buyer") })
				},
			}), nil
		},
	}
	near := module.Spec{
		Name: "near", Uses: []string{"far"}, Migrations: eventTables(), OpenAPI: bareDocument("near", barePlace, bareRead),
		Wire: func(env *module.Env) (module.Parts, error) {
			conn, err := env.Conn("far")
			answers := store.bare(conn)
			return keys(module.Parts{REST: func(r gin.IRouter) {
				text(r, barePlace, answers[barePlace])
				text(r, bareRead, answers[bareRead])
			}}), err
		},
	}
	return []module.Spec{near, far}
}

type noKeys struct{}

// PublicKeys implements auth.KeySource.
func (noKeys) PublicKeys(context.Context) (map[string]*ecdsa.PublicKey, error) { return nil, nil }

func text(r gin.IRouter, path string, answer func(context.Context) (string, error)) {
	r.GET(path, func(c *gin.Context) {
		body, err := answer(c.Request.Context())
		if err != nil {
			rest.HandlerError(c, err)
			return
		}
		c.Data(http.StatusOK, "text/plain", []byte(body))
	})
}

// bareDocument describes public GETs that answer with text.
func bareDocument(title string, paths ...string) []byte {
	const problem = `{description: an error, content: {application/problem+json: {schema: {type: object}}}}`
	b := fmt.Appendf(nil, "openapi: 3.0.3\ninfo: {title: %s, version: \"1\"}\npaths:\n", title)
	for i, p := range paths {
		b = fmt.Appendf(b, "  %s: {get: {operationId: %s%d, security: [], x-permission: public, x-owner: none, responses: {"+
			"\"200\": {description: fine, content: {text/plain: {schema: {type: string}}}}, \"400\": %s, \"500\": %[4]s, \"503\": %[4]s}}}\n", p, title, i, problem)
	}
	return b
}
