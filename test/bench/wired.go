package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/module"
)

// The methods of the hand-wired services. They take and return texts.
const (
	wiredService = "cleave.bench.v1.WiredService"
	methodHold   = "/" + wiredService + "/Hold"   // credit, of a user for an order
	methodCredit = "/" + wiredService + "/Credit" // of a user
	methodTell   = "/" + wiredService + "/Tell"   // a user of an order
	methodList   = "/" + wiredService + "/List"   // what a user was told
)

// wired is `bench wired`: a service as one writes it by hand on net/http,
// plain grpc-go and pgx, for the same journey and with the rows that it is
// about alone. It has no trust between services, no verified tokens, no policy,
// no validation, no idempotency, no log, no outbox, no saga: it is the floor
// beneath what those cost.
func wired(args []string) error {
	fs := flag.NewFlagSet("wired", flag.ContinueOnError)
	rpcAddr := fs.String("rpc", "", "serve the methods here; empty: take requests of clients")
	user := fs.String("user", "", "where credit is held")
	notification := fs.String("notification", "", "where users are told")
	dsn := fs.String("dsn", "", "the database; empty: none in the path")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	store, err := openStore(*dsn)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	if *rpcAddr != "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", *rpcAddr)
		if err != nil {
			return err
		}
		s := grpc.NewServer()
		s.RegisterService(store.methods(), store)
		go func() { _ = s.Serve(l) }()
		defer s.Stop()
	} else {
		o := &wiredOrders{store: store}
		if o.user, err = grpc.NewClient(*user, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
			return err
		}
		if o.notification, err = grpc.NewClient(*notification, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
			return err
		}
		o.routes(mux)
	}
	server := &http.Server{Addr: os.Getenv("CLEAVE_HTTP_ADDR"), Handler: mux, ReadHeaderTimeout: time.Second}
	context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return store.close()
}

// wiredOrders takes the requests of the journey.
type wiredOrders struct {
	store              *wiredStore
	user, notification *grpc.ClientConn
}

func (o *wiredOrders) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/orders", func(w http.ResponseWriter, r *http.Request) {
		answer, err := o.place(r)
		reply(w, http.StatusCreated, answer, err)
	})
	mux.HandleFunc("GET /api/v1/orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := o.store.order(r.Context(), r.PathValue("id"))
		reply(w, http.StatusOK, answer, err)
	})
	mux.HandleFunc("GET /api/v1/users/{id}/credit", func(w http.ResponseWriter, r *http.Request) {
		answer, err := ask(r.Context(), o.user, methodCredit, r.PathValue("id"))
		reply(w, http.StatusOK, answer, err)
	})
	// The journey without a database, as in bare.go.
	for path, answer := range o.store.bare(o.user) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			text, err := answer(r.Context())
			reply(w, http.StatusOK, text, err)
		})
	}
	mux.HandleFunc("GET /api/v1/notifications", func(w http.ResponseWriter, r *http.Request) {
		answer, err := ask(r.Context(), o.notification, methodList, subject(r))
		reply(w, http.StatusOK, answer, err)
	})
}

// place stores an order and has it confirmed behind the client's back.
func (o *wiredOrders) place(r *http.Request) (string, error) {
	var body struct {
		Lines []struct {
			ProductID string `json:"product_id"`
			Quantity  int    `json:"quantity"`
		}
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&body); err != nil || len(body.Lines) != 2 {
		return "", fmt.Errorf("read the order: %w", err)
	}
	id, buyer := module.NewID(), subject(r)
	answer, err := o.store.place(r.Context(), id, buyer, body.Lines[0].ProductID, body.Lines[1].ProductID)
	if err != nil {
		return "", err
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := ask(ctx, o.user, methodHold, id+" "+buyer); err != nil {
			fmt.Fprintln(os.Stderr, "hold credit:", err)
			return
		}
		err := o.store.confirm(ctx, id)
		if err == nil {
			_, err = ask(ctx, o.notification, methodTell, id+" "+buyer)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "confirm:", err)
		}
	}()
	return answer, nil
}

// subject is whom a token names; nobody checks it here.
func subject(r *http.Request) string {
	parts := strings.Split(r.Header.Get("Authorization"), ".")
	if len(parts) != 3 {
		return ""
	}
	text, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ Sub string }
	_ = json.Unmarshal(text, &claims)
	return claims.Sub
}

func reply(w http.ResponseWriter, status int, answer string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

func ask(ctx context.Context, conn grpc.ClientConnInterface, method, request string) (string, error) {
	reply := &wrapperspb.StringValue{}
	err := conn.Invoke(ctx, method, wrapperspb.String(request), reply)
	return reply.GetValue(), err
}

// methods are those that the services offer to each other.
func (s *wiredStore) methods() *grpc.ServiceDesc {
	unary := func(method string, answer func(ctx context.Context, request string) (string, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: method[len(wiredService)+2:], Handler: func(_ any, ctx context.Context, dec func(any) error, around grpc.UnaryServerInterceptor) (any, error) {
			in := &wrapperspb.StringValue{}
			if err := dec(in); err != nil {
				return nil, err
			}
			handler := func(ctx context.Context, _ any) (any, error) {
				out, err := answer(ctx, in.GetValue())
				return wrapperspb.String(out), err
			}
			if around == nil {
				return handler(ctx, in)
			}
			return around(ctx, in, &grpc.UnaryServerInfo{FullMethod: method}, handler)
		}}
	}
	return &grpc.ServiceDesc{ServiceName: wiredService, HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		unary(methodHold, s.hold), unary(methodCredit, s.credit), unary(methodTell, s.tell), unary(methodList, s.list),
	}}
}
