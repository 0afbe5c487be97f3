package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"cleave/modules/user"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
	"cleave/platform/metrics"
	"cleave/platform/peer"
	"cleave/platform/rpc"
	"cleave/platform/telemetry"
	"cleave/platform/traffic"
	"cleave/platform/trust"
	"cleave/platform/trust/authority"
)

// asker makes the calls of one side, one after the other.
type asker struct {
	name     string
	client   userv1.UserServiceClient
	deadline bool      // whether each call has one, as a request's calls do
	wall     []float64 // microseconds of a call, by round
	cpu      []float64 // of the processor
}

// measureParts measures a call between modules, with all that surrounds it, in one process and over loopback. There grpc-go without
// any option stands beside it, between the same certificates and with the same deadlines.
func (o *options) measureParts(ctx context.Context, b *bed, r *report) error {
	if _, err := telemetry.SetupTracing(ctx, "none", "", "", nil); err != nil {
		return err
	}
	sides := []*asker{{name: "in process", client: localCalls(b)}, {name: "loopback", client: remoteCalls(b), deadline: true}, {name: "grpc-go", client: bareCalls(b), deadline: true}}
	part := o.round / 4
	for round := o.warmUp(); round <= o.rounds; round++ {
		for i := range sides {
			if round%2 == 1 {
				i = len(sides) - 1 - i
			}
			if err := sides[i].measure(ctx, part, round > 0); err != nil {
				return fmt.Errorf("%s: %w", sides[i].name, err)
			}
		}
	}
	local, hop, bare := sides[0], sides[1], sides[2]
	r.section(fmt.Sprintf("Calls between modules, one after the other, with all that surrounds them, sampling off (medians of %d rounds of %s in turn)", o.rounds, part))
	r.atMost("in one process", median(local.wall), 6, " µs", fmt.Sprintf("processor %s µs", short(median(local.cpu))))
	r.atMost("over loopback, as a ratio to grpc-go alone", quotient(hop.wall, bare.wall), 1.3, "",
		fmt.Sprintf("%s µs, grpc-go %s µs", short(median(hop.wall)), short(median(bare.wall))))
	r.atMost("the same, processor time", quotient(hop.cpu, bare.cpu), 1.3, "",
		fmt.Sprintf("%s µs, grpc-go %s µs", short(median(hop.cpu)), short(median(bare.cpu))))
	return nil
}

// measure makes calls for a while; a round that warms up does not count.
func (c *asker) measure(ctx context.Context, d time.Duration, counts bool) error {
	const id = "0190b8f6-9c1e-7000-8000-000000000001"
	ctx = telemetry.WithRequestID(ctx, id)
	ctx = auth.With(ctx, auth.Principal{Issuer: "https://cleave.example", Subject: id, Session: "s1", Roles: []string{"customer"}})
	in := &userv1.CaptureCreditRequest{ReservationKey: id}
	call := func() error {
		ctx := ctx
		if c.deadline {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, rpc.DefaultTimeout)
			defer cancel()
		}
		_, err := c.client.CaptureCredit(ctx, in)
		return err
	}
	if err := call(); err != nil {
		return err
	}
	const batch = 100 // calls between two looks at the clock
	n, used, began := 0, traffic.CPU(), time.Now()
	for time.Since(began) < d {
		for range batch {
			if err := call(); err != nil {
				return err
			}
		}
		n += batch
	}
	wall, cpu := perCall(time.Since(began), n), perCall(traffic.CPU()-used, n)
	if counts {
		c.wall, c.cpu = append(c.wall, wall), append(c.cpu, cpu)
	}
	fmt.Fprintf(os.Stderr, "calls, %-10s %6.1f µs, processor %6.1f µs\n", c.name, wall, cpu)
	return nil
}

func perCall(d time.Duration, n int) float64 { return float64(d.Nanoseconds()) / float64(n) / 1000 }

// quotient is the median over the rounds of a by b.
func quotient(a, b []float64) float64 {
	q := make([]float64, len(a))
	for i := range a {
		q[i] = a[i] / b[i]
	}
	return median(q)
}

// users answers without doing anything.
type users struct {
	userv1.UnimplementedUserServiceServer
}

func (users) CaptureCredit(context.Context, *userv1.CaptureCreditRequest) (*userv1.CaptureCreditResponse, error) {
	return &userv1.CaptureCreditResponse{}, nil
}

// serveUsers registers users as a process does, which counts what they do.
func serveUsers(to grpc.ServiceRegistrar) {
	userv1.RegisterUserServiceServer(traffic.New(time.Now).Registrar("user", to), users{})
}

func userPolicy(b *bed) *auth.Policy {
	p, err := auth.NewPolicy(map[string]string{"user": user.Module.Policy})
	require.NoError(b, err)
	return p
}

// counted is a client on an edge with the counters that it has in a process.
func counted(e *rpc.Edge) userv1.UserServiceClient {
	e.Observe(metrics.New(""))
	e.Count(traffic.New(time.Now).Edge("order", "user"))
	return userv1.NewUserServiceClient(e)
}

func localCalls(b *bed) userv1.UserServiceClient {
	channel := rpc.NewInProcess(userPolicy(b), slog.New(slog.DiscardHandler))
	serveUsers(channel)
	return counted(rpc.NewEdge("order", "user", rpc.Local{}, channel))
}

// identities are the identities of one that runs the module order and of one that runs user.
func identities(b *bed) (order, user *trust.Identity) {
	a, err := authority.Open(b.TempDir(), "cleave.test", time.Now)
	require.NoError(b, err)
	load := func(name string) *trust.Identity {
		f, err := a.Issue(name, []string{name})
		require.NoError(b, err)
		i, err := trust.Load(f.Cert, f.Key, f.CA, slog.New(slog.DiscardHandler), time.Now)
		require.NoError(b, err)
		return i
	}
	return load("order"), load("user")
}

// serveOn serves until b closes, and returns the address.
func serveOn(b *bed, server *grpc.Server) string {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(b, err)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	b.Cleanup(func() { server.Stop(); <-done })
	return l.Addr().String()
}

func remoteCalls(b *bed) userv1.UserServiceClient {
	order, user := identities(b)
	services := rpc.NewServices()
	services.Add("user", rpc.ServerInterceptor(user.Calls("user"), userPolicy(b), slog.New(slog.DiscardHandler)), serveUsers)
	server := grpc.NewServer(append(append(peer.ServerOptions(), trust.Guard()...), grpc.Creds(user.ServerCredentials()), grpc.UnknownServiceHandler(services.Serve))...)
	healthy := health.NewServer()
	healthy.SetServingStatus("user", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, healthy)
	words, err := order.CallCredentials("user")
	require.NoError(b, err)
	p, err := peer.Dial(peer.Options{Module: "user", Target: serveOn(b, server), Credentials: order.ClientCredentials("user"), PerCall: words})
	require.NoError(b, err)
	b.Cleanup(func() { _ = p.Close() })
	return counted(rpc.NewEdge("order", "user", order.Calls("user"), p.Edge("order")))
}

func bareCalls(b *bed) userv1.UserServiceClient {
	order, user := identities(b)
	server := grpc.NewServer(grpc.Creds(user.ServerCredentials()))
	userv1.RegisterUserServiceServer(server, users{})
	conn, err := grpc.NewClient(serveOn(b, server), grpc.WithTransportCredentials(order.ClientCredentials("user")))
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	return userv1.NewUserServiceClient(conn)
}
