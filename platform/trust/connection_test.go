package trust_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/trust"
	"cleave/platform/trust/authority"
)

// everything is a principal with each field filled.
func everything() auth.Principal {
	return auth.Principal{
		Issuer: "https://id.example", Subject: "u1", Session: "s1", Client: "c1", Generation: 7, Actor: "a1", IssuerSubject: "ada",
		Roles: []string{"customer", "support"}, Scopes: []string{"order"}, Audience: []string{"user", "order"},
		Expires: time.Date(2026, 11, 23, 12, 0, 0, 5, time.UTC),
	}
}

func TestConnection(t *testing.T) {
	t.Parallel()
	t.Run("RightPair", func(t *testing.T) {
		t.Parallel()
		full := reflect.ValueOf(everything())
		for f := range full.Type().Fields() {
			require.False(t, full.FieldByIndex(f.Index).IsZero(), "let everything fill %s, and claims carry it", f.Name)
		}
		w := setup(t, "example.org")
		user := serve(t, w.process(t, "rest", "notification", "user"), "user")
		client := caller(t, w.process(t, "order", "order"), "order", user.addr)
		for _, p := range []auth.Principal{everything(), {Subject: "u2", Scopes: []string{}}, everything(), auth.Service("order")} {
			_, err := client.UnaryCall(auth.With(t.Context(), p), &testpb.SimpleRequest{})
			require.NoError(t, err)
			require.Equal(t, p, *user.user.Load())
		}
	})
	t.Run("OtherTrustDomain", func(t *testing.T) {
		t.Parallel()
		w, foreign := setup(t, "example.org"), setup(t, "example.net")
		user := serve(t, w.process(t, "user", "user"), "user")
		refused(t, caller(t, foreign.process(t, "order", "order"), "order", user.addr), user)
		strangers := serve(t, foreign.process(t, "user", "user"), "user")
		refused(t, caller(t, w.process(t, "order", "order"), "order", strangers.addr), strangers)
	})
	t.Run("OtherDomainOfTheSameAuthority", func(t *testing.T) {
		t.Parallel()
		w := setup(t, "example.org")
		user := serve(t, w.process(t, "user", "user"), "user")
		// An authority for several domains: the name alone must tell them apart.
		files, err := w.IssueAs("stranger", leaf(w, "spiffe://example.net/modules/order"))
		require.NoError(t, err)
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		require.NoError(t, err)
		refused(t, raw(t, user.addr, &pair), user)
	})
	t.Run("OtherModule", func(t *testing.T) {
		t.Parallel()
		w := setup(t, "example.org")
		other := serve(t, w.process(t, "rest", "notification"), "user")
		err := refused(t, caller(t, w.process(t, "order", "order"), "order", other.addr), other)
		require.ErrorContains(t, err, "spiffe://example.org/modules/notification, which does not run the module user")
	})
	t.Run("ExpiredServer", func(t *testing.T) {
		t.Parallel()
		w := setup(t, "example.org")
		user := serve(t, w.process(t, "user", "user"), "user")
		w.pass(authority.Lifetime / 2)
		order := w.process(t, "order", "order")
		w.pass(authority.Lifetime / 2)
		require.ErrorContains(t, refused(t, caller(t, order, "order", user.addr), user), "expired")
	})
	t.Run("ExpiredClient", func(t *testing.T) {
		t.Parallel()
		w := setup(t, "example.org")
		order := w.process(t, "order", "order")
		w.pass(authority.Lifetime / 2)
		user := serve(t, w.process(t, "user", "user"), "user")
		w.pass(authority.Lifetime / 2)
		refused(t, caller(t, order, "order", user.addr), user)
		w.logged(t, "expired")
	})
	t.Run("NoClientCertificate", func(t *testing.T) {
		t.Parallel()
		w := setup(t, "example.org")
		user := serve(t, w.process(t, "user", "user"), "user")
		refused(t, raw(t, user.addr, nil), user)
		w.logged(t, "connection refused")
	})
	t.Run("OldProtocol", func(t *testing.T) {
		t.Parallel()
		w := setup(t, "example.org")
		user := serve(t, w.process(t, "user", "user"), "user")
		conn, err := tls.Dial("tcp", user.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}) //nolint:gosec // it must be refused
		if err == nil {
			_ = conn.Close()
		}
		require.ErrorContains(t, err, "protocol version")
	})
	t.Run("NoTLS", func(t *testing.T) {
		t.Parallel()
		w := setup(t, "example.org")
		user := serve(t, w.process(t, "user", "user"), "user")
		conn, err := grpc.NewClient(user.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		refused(t, testpb.NewTestServiceClient(conn), user)
		plain, err := net.Dial("tcp", user.addr)
		require.NoError(t, err)
		defer plain.Close()
		_, err = plain.Write([]byte("GET / HTTP/1.1\r\nHost: user\r\n\r\n"))
		require.NoError(t, err)
		require.NoError(t, plain.SetReadDeadline(time.Now().Add(10*time.Second)))
		answer := make([]byte, 512)
		n, _ := plain.Read(answer)
		require.NotContains(t, string(answer[:n]), "HTTP", "no word in plain text")
	})
	t.Run("ServerWithoutThem", func(t *testing.T) {
		t.Parallel()
		_, err := trust.Caller(t.Context())
		require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	})
}

// refused makes a call that must not arrive.
func refused(t *testing.T, client testpb.TestServiceClient, at *callee) error {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "cleave-caller", "order")
	_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
	require.Error(t, err)
	require.Zero(t, at.called.Load())
	return err
}

// raw is a client without any of the checks of ours, that shows the certificate.
func raw(t *testing.T, addr string, pair *tls.Certificate) testpb.TestServiceClient {
	t.Helper()
	return testpb.NewTestServiceClient(rawConn(t, addr, pair))
}

func rawConn(t *testing.T, addr string, pair *tls.Certificate, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} //nolint:gosec // it is the attacker
	if pair != nil {
		c.Certificates = []tls.Certificate{*pair}
	}
	conn, err := grpc.NewClient(addr, append(options, grpc.WithTransportCredentials(credentials.NewTLS(c)))...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	w := setup(t, "example.org")
	user := serve(t, w.process(t, "user", "user"), "user")
	t.Run("ClaimsAnotherModule", func(t *testing.T) {
		t.Parallel()
		// billing may call the method, and order may call another one: the process of order is not billing.
		_, err := caller(t, w.process(t, "order", "order"), "billing", user.addr).EmptyCall(t.Context(), &testpb.Empty{})
		require.Equal(t, fault.Forbidden, fault.KindOf(err))
		require.Equal(t, "caller_denied", fault.CodeOf(err))
	})
	t.Run("WithoutTheEdge", func(t *testing.T) {
		t.Parallel()
		_, err := caller(t, w.process(t, "notification", "notification"), "notification", user.addr).EmptyCall(t.Context(), &testpb.Empty{})
		require.Equal(t, "caller_denied", fault.CodeOf(err))
	})
	t.Run("Gateway", func(t *testing.T) {
		t.Parallel()
		gateway := w.process(t, "gateway")
		require.True(t, gateway.Gateway())
		_, err := caller(t, gateway, "billing", user.addr).EmptyCall(t.Context(), &testpb.Empty{})
		require.Equal(t, "caller_denied", fault.CodeOf(err))
	})
	t.Run("OneOfSeveral", func(t *testing.T) {
		t.Parallel()
		both := w.process(t, "both", "billing", "order")
		require.Equal(t, []string{"billing", "order"}, both.Modules())
		_, err := caller(t, both, "billing", user.addr).EmptyCall(t.Context(), &testpb.Empty{})
		require.NoError(t, err)
	})
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	w := setup(t, "example.org")
	server := w.process(t, "user", "user")
	user := serve(t, server, "user")
	order := w.process(t, "order", "order")
	client := caller(t, order, "order", user.addr)
	stop, failed := make(chan struct{}), make(chan error, 4)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := client.UnaryCall(auth.With(t.Context(), everything()), &testpb.SimpleRequest{}); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	shown := ""
	for range 5 {
		require.Eventually(t, func() bool { return serial(t, order, user.addr) != shown }, 20*time.Second, time.Millisecond, "a new connection gets the new certificate")
		shown = serial(t, order, user.addr)
		for _, name := range []string{"user", "order"} {
			_, err := w.Issue(name, []string{name})
			require.NoError(t, err)
		}
		w.pass(2 * time.Second)
		before := user.called.Load()
		require.Eventually(t, func() bool { return user.called.Load() > before+20 || len(failed) > 0 }, 20*time.Second, time.Millisecond)
	}
	close(stop)
	callers.Wait()
	require.Empty(t, failed, "no call fails over it")
}

// serial is that of the certificate which the server shows now.
func serial(t *testing.T, process *trust.Identity, addr string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, info, err := process.ClientCredentials("user").ClientHandshake(t.Context(), addr, conn)
	require.NoError(t, err)
	seen := info.(interface {
		GetSecurityValue() credentials.ChannelzSecurityValue
	}).GetSecurityValue().(*credentials.TLSChannelzSecurityValue)
	cert, err := x509.ParseCertificate(seen.RemoteCertificate)
	require.NoError(t, err)
	return cert.SerialNumber.String()
}
