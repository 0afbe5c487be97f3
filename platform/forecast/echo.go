package forecast

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/auth"
	"cleave/platform/front"
	frontv1 "cleave/platform/front/v1"
	"cleave/platform/peer"
	"cleave/platform/rest"
	"cleave/platform/rpc"
	"cleave/platform/telemetry"
	"cleave/platform/traffic"
	"cleave/platform/trust"
	"cleave/platform/trust/authority"
)

// The two modules of a calibration, and what the second one offers.
const (
	caller  = "caller"
	callee  = "callee"
	service = "cleave.forecast.v1.EchoService"
	call    = "/" + service + "/Call"
	used    = "/" + service + "/Used"
	path    = "/api/v1/echo"
)

// Sizes are bytes of what a calibration sends to and fro.
type Sizes struct {
	Request int `json:"request"` // of a call
	Reply   int `json:"reply"`
	Answer  int `json:"answer"` // of a REST request
}

// Far is what the process at the far end of a calibration is told.
type Far struct {
	Files authority.Files `json:"files"`
	Sizes Sizes           `json:"sizes"`
}

// Serve is the process at the far end: it prints the address that it listens
// on and serves until in ends.
func (f Far) Serve(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(servingGC))
	log, end, err := accessLog()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	id, err := trust.Load(f.Files.Cert, f.Files.Key, f.Files.CA, log, time.Now)
	if err != nil {
		return err
	}
	api, err := restAPI(log, func(a *rest.API) error { return a.Module(callee, document, nil, f.Sizes.routes) })
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(append(peer.ServerOptions(), grpc.Creds(id.ServerCredentials()),
		grpc.UnaryInterceptor(rpc.ServerInterceptor(id.Calls(callee), anyone{}, log)))...)
	f.Sizes.register(server)
	frontv1.RegisterFrontServiceServer(server, front.NewServer(api.Handler(), log))
	alive := health.NewServer()
	alive.SetServingStatus(callee, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, alive)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		server.Stop()
		return errors.Join(err, <-served)
	}
	_, err = io.Copy(io.Discard, in)
	server.Stop()
	return errors.Join(err, <-served)
}

// anyone lets everybody call: there are only the two.
type anyone struct{}

// MayCall implements rpc.Access.
func (anyone) MayCall(string, string) (string, bool) { return "", true }

// Decide implements rpc.Access.
func (anyone) Decide(auth.Principal, string) auth.Decision { return auth.Any }

// register registers the echo, which answers with as many bytes as in s.
func (s Sizes) register(to grpc.ServiceRegistrar) {
	reply := make([]byte, s.Reply)
	to.RegisterService(&grpc.ServiceDesc{
		ServiceName: service, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary(call, func(*wrapperspb.BytesValue) any { return wrapperspb.Bytes(slices.Clone(reply)) }),
			unary(used, func(*emptypb.Empty) any { return durationpb.New(traffic.CPU()) }),
		},
	}, s)
}

func unary[T any](method string, answer func(*T) any) grpc.MethodDesc {
	name := method[len(service)+2:]
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, dec func(any) error, in grpc.UnaryServerInterceptor) (any, error) {
		request := new(T)
		if err := dec(request); err != nil {
			return nil, err
		}
		handler := func(context.Context, any) (any, error) { return answer(request), nil }
		if in == nil {
			return handler(ctx, request)
		}
		return in(ctx, request, &grpc.UnaryServerInfo{FullMethod: method}, handler)
	}}
}

// document describes the REST operation that is handed on.
var document = []byte(`{"openapi": "3.0.3", "info": {"title": "echo", "version": "1"}, "paths": {"` + path + `": {"get": {
	"operationId": "echo", "security": [], "x-permission": "public", "x-owner": "none", "responses": {
		"200": {"description": "some bytes", "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
		"400": ` + problem + `, "500": ` + problem + `, "503": ` + problem + `}}}}}`)

const problem = `{"description": "an error", "content": {"application/problem+json": {"schema": {"type": "object"}}}}`

func (s Sizes) routes(r gin.IRouter) {
	answer := make([]byte, s.Answer)
	r.GET(path, func(c *gin.Context) { c.Data(http.StatusOK, "application/octet-stream", answer) })
}

// restAPI is an API with what mount adds.
func restAPI(log *slog.Logger, mount func(*rest.API) error) (*rest.API, error) {
	policy, err := auth.NewPolicy(nil)
	if err != nil {
		return nil, err
	}
	api := rest.New(rest.Options{Verifier: func(string) *auth.Verifier { return nil }, Policy: policy, Log: log})
	return api, mount(api)
}

// accessLog is a log like that of a process in production, which nobody reads:
// writing it is part of what a request costs.
func accessLog() (*slog.Logger, func() error, error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	return telemetry.NewLogger(null, "info", "json"), null.Close, nil
}
