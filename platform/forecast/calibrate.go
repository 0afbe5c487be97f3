package forecast

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/auth"
	"cleave/platform/front"
	"cleave/platform/peer"
	"cleave/platform/rest"
	"cleave/platform/rpc"
	"cleave/platform/traffic"
	"cleave/platform/trust"
	"cleave/platform/trust/authority"
)

// Calibration measures what hops cost on this machine.
type Calibration struct {
	Sizes Sizes
	Every time.Duration // between the starts of two calls; an idle process is slower to answer than a busy one
	Calls int           // of each kind, in each round
	// Far returns a command that runs Far.Serve with what it finds in the argument added, as JSON.
	Far func(ctx context.Context) *exec.Cmd
}

const rounds = 2

// servingGC is the garbage collector's percentage in a process that serves (platform/module): collecting is part of what a hop costs.
const servingGC = 400

// The paces of a calibration, at most and at least.
const (
	fastest = 2 * time.Millisecond
	slowest = 20 * time.Millisecond
)

// Like returns a calibration with messages of the mean sizes that s has counted,
// at the pace of its requests, in blocks that take as long as block. Far is left
// to be set.
func Like(s traffic.Snapshot, block time.Duration) Calibration {
	var sized, requests, in, out, answers int64
	for _, c := range s.Calls {
		sized, in, out = sized+c.Sized, in+c.RequestBytes, out+c.ReplyBytes
	}
	for _, a := range s.Sources {
		if a.Kind == traffic.Operation {
			requests, answers = requests+a.Runs, answers+a.OutBytes
		}
	}
	mean := func(total, n int64) int { return int(total / max(n, 1)) }
	every := slowest
	if requests > 0 {
		every = min(max(s.At.Sub(s.Since)/time.Duration(requests), fastest), slowest)
	}
	return Calibration{
		Sizes: Sizes{Request: mean(in, sized), Reply: mean(out, sized), Answer: mean(answers, requests)},
		Every: every, Calls: int(block / every),
	}
}

// Window is how long the calibration takes, about.
func (c Calibration) Window() time.Duration { return rounds * 4 * time.Duration(c.Calls) * c.Every }

// Run measures a call and a request within this process and to a second one, in
// turn, over the connections, certificates and interceptors that a split uses.
func (c Calibration) Run(ctx context.Context) (h Hops, err error) {
	dir, err := os.MkdirTemp("", "cleave-forecast-")
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	defer debug.SetGCPercent(debug.SetGCPercent(servingGC))
	b, err := c.open(ctx, dir)
	if err != nil {
		return h, fmt.Errorf("calibrate: %w", err)
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, kind := range []struct {
		cost      *Cost
		near, far func(context.Context) error
	}{
		{&h.Call, b.call(b.nearEdge), b.call(b.farEdge)},
		{&h.Front, b.get(b.nearURL), b.get(b.farURL)},
	} {
		var near, far sample
		for range rounds {
			if err = errors.Join(b.measure(ctx, c, &near, kind.near), b.measure(ctx, c, &far, kind.far)); err != nil {
				return h, fmt.Errorf("calibrate: %w", err)
			}
		}
		*kind.cost = far.minus(near)
	}
	return h, nil
}

// bench is both ends of a calibration.
type bench struct {
	peer              *peer.Peer
	nearEdge, farEdge *rpc.Edge
	nearURL, farURL   string
	client            *http.Client
	message           *wrapperspb.BytesValue
	closers           []func() error
}

func (b *bench) close() error {
	var errs []error
	for _, fn := range slices.Backward(b.closers) {
		errs = append(errs, fn())
	}
	return errors.Join(errs...)
}

func (c Calibration) open(ctx context.Context, dir string) (b *bench, err error) {
	b = &bench{message: wrapperspb.Bytes(make([]byte, c.Sizes.Request)), client: &http.Client{Transport: &http.Transport{}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	log, end, err := accessLog()
	if err != nil {
		return b, err
	}
	b.closers = append(b.closers, end)
	signer, err := authority.Open(dir, "forecast.example", time.Now)
	if err != nil {
		return b, err
	}
	own, err := signer.Issue(caller, []string{caller})
	if err != nil {
		return b, err
	}
	theirs, err := signer.Issue(callee, []string{callee})
	if err != nil {
		return b, err
	}
	id, err := trust.Load(own.Cert, own.Key, own.CA, log, time.Now)
	if err != nil {
		return b, err
	}
	addr, err := b.start(c.Far(ctx), Far{Files: theirs, Sizes: c.Sizes})
	if err != nil {
		return b, err
	}
	words, err := id.CallCredentials(callee)
	if err != nil {
		return b, err
	}
	if b.peer, err = peer.Dial(peer.Options{Module: callee, Target: addr, Credentials: id.ClientCredentials(callee), PerCall: words, Log: log}); err != nil {
		return b, err
	}
	b.closers = append(b.closers, b.peer.Close)
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err = b.peer.Ready(waiting); err != nil {
		return b, err
	}
	channel := rpc.NewInProcess(anyone{}, log)
	c.Sizes.register(channel)
	b.nearEdge, b.farEdge = rpc.NewEdge(caller, callee, rpc.Local{}, channel), rpc.NewEdge(caller, callee, id.Calls(callee), b.peer.Edge(caller))
	near, err := restAPI(log, func(a *rest.API) error { return a.Module(callee, document, nil, c.Sizes.routes) })
	if err != nil {
		return b, err
	}
	far, err := restAPI(log, func(a *rest.API) error { return a.Away(callee, document, nil, front.NewProxy(b.peer, log)) })
	if err != nil {
		return b, err
	}
	if b.nearURL, err = b.serve(ctx, near.Handler()); err == nil {
		b.farURL, err = b.serve(ctx, far.Handler())
	}
	return b, err
}

// start runs the far end and returns its address.
func (b *bench) start(cmd *exec.Cmd, far Far) (addr string, err error) {
	told, err := json.Marshal(far)
	if err != nil {
		return "", err
	}
	cmd.Args = append(cmd.Args, string(told))
	var complaint strings.Builder
	cmd.Stderr = &complaint
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err = cmd.Start(); err != nil {
		return "", fmt.Errorf("start the far end: %w", err)
	}
	b.closers = append(b.closers, func() error {
		_ = in.Close()
		return cmd.Wait()
	})
	if addr, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		_ = in.Close()
		return "", fmt.Errorf("the far end did not start: %w: %s", errors.Join(err, cmd.Wait()), complaint.String())
	}
	return strings.TrimSpace(addr), nil
}

// serve serves handler on a free port until close.
func (b *bench) serve(ctx context.Context, handler http.Handler) (url string, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	b.closers = append(b.closers, func() error {
		b.client.CloseIdleConnections()
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
	return "http://" + l.Addr().String() + path, nil
}

// user is for whom calls are made, as most calls of a module are.
var user = auth.Principal{Issuer: "forecast", Subject: "0197a5c2-7b1e-7c3a-9d2f-3b8e5a6c1d20", Roles: []string{"customer"}}

func (b *bench) call(edge grpc.ClientConnInterface) func(context.Context) error {
	return func(ctx context.Context) error {
		return edge.Invoke(auth.With(ctx, user), call, b.message, &wrapperspb.BytesValue{})
	}
}

func (b *bench) get(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := b.client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s was answered %s", url, resp.Status)
		}
		return err
	}
}

// used is the processor time of both processes.
func (b *bench) used(ctx context.Context) (time.Duration, error) {
	far := &durationpb.Duration{}
	err := b.farEdge.Invoke(ctx, used, &emptypb.Empty{}, far)
	return far.AsDuration() + traffic.CPU(), err
}
