package trust_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/rpc"
	"cleave/platform/trust"
)

// cluster issues service-account tokens as Kubernetes does.
type cluster struct {
	w       *world
	key     *ecdsa.PrivateKey
	asked   atomic.Int64
	offline atomic.Bool
}

func newCluster(t *testing.T, w *world) *cluster {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &cluster{w: w, key: key}
}

func (c *cluster) token(account, audience string, lifetime time.Duration) string {
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.RegisteredClaims{
		Issuer: "https://cluster", Subject: account, Audience: jwt.ClaimStrings{audience},
		IssuedAt: jwt.NewNumericDate(c.w.now()), ExpiresAt: jwt.NewNumericDate(c.w.now().Add(lifetime)),
	})
	text, err := t.SignedString(c.key)
	if err != nil {
		panic(err)
	}
	return text
}

func (c *cluster) verify(_ context.Context, audience, token string) (string, time.Time, error) {
	c.asked.Add(1)
	if c.offline.Load() {
		return "", time.Time{}, fault.New(fault.Unavailable, "keys_unavailable", "no keys")
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return &c.key.PublicKey, nil },
		jwt.WithAudience(audience), jwt.WithTimeFunc(c.w.now), jwt.WithExpirationRequired())
	if err != nil {
		return "", time.Time{}, fault.New(fault.Unauthenticated, "", "no").Wrap(err)
	}
	return claims.Subject, claims.ExpiresAt.Time, nil
}

const orders, strangers = "system:serviceaccount:shop:orders", "system:serviceaccount:shop:strangers"

// accounts lets the process in whose account runs order.
func (c *cluster) accounts() trust.Accounts {
	return trust.Accounts{Verify: c.verify, Modules: map[string][]string{orders: {"order"}, "system:serviceaccount:shop:front.door": nil}}
}

type accountsFixture struct {
	*world
	cluster *cluster
	user    *callee
}

func setupAccounts(t *testing.T) *accountsFixture {
	t.Helper()
	w := setup(t, "example.org")
	f := &accountsFixture{world: w, cluster: newCluster(t, w)}
	process := w.process(t, "user", "user", "billing")
	require.NoError(t, process.Accept(f.cluster.accounts()))
	f.user = serve(t, process, "user")
	return f
}

// presenting is a process of order that shows a token instead of its certificate.
func (f *accountsFixture) presenting(t *testing.T, token string) (process *trust.Identity, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "user")
	require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	process = f.process(t, "order", "order")
	process.Present(filepath.Join(dir, "{module}"))
	return process, file
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	t.Run("RightToken", func(t *testing.T) {
		t.Parallel()
		f := setupAccounts(t)
		order, file := f.presenting(t, f.cluster.token(orders, "user", time.Hour))
		client := caller(t, order, "order", f.user.addr)
		for range 3 {
			_, err := client.UnaryCall(auth.With(t.Context(), everything()), &testpb.SimpleRequest{})
			require.NoError(t, err)
		}
		require.Equal(t, everything(), *f.user.user.Load())
		require.EqualValues(t, 1, f.cluster.asked.Load(), "remembered")

		// Kubernetes writes a new token; the process finds it before the old one expires.
		f.pass(50 * time.Minute)
		require.NoError(t, os.WriteFile(file, []byte(f.cluster.token(orders, "user", time.Hour)), 0o600))
		require.NoError(t, os.Chtimes(file, f.now(), f.now()))
		f.pass(30 * time.Minute)
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.NoError(t, err)
		require.EqualValues(t, 2, f.cluster.asked.Load())

		// What it claims is checked as with a certificate.
		_, err = caller(t, order, "billing", f.user.addr).EmptyCall(t.Context(), &testpb.Empty{})
		require.Equal(t, "caller_denied", fault.CodeOf(err))
	})
	t.Run("CertificateStill", func(t *testing.T) {
		t.Parallel()
		f := setupAccounts(t)
		refused(t, caller(t, setup(t, "example.org").process(t, "order", "order"), "order", f.user.addr), f.user)
		_, err := caller(t, f.process(t, "order", "order"), "order", f.user.addr).UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.NoError(t, err)
		require.Zero(t, f.cluster.asked.Load())
	})
	t.Run("NotAccepted", func(t *testing.T) {
		t.Parallel()
		f := setupAccounts(t)
		strict := serve(t, f.process(t, "strict", "user"), "user")
		order, _ := f.presenting(t, f.cluster.token(orders, "user", time.Hour))
		refused(t, caller(t, order, "order", strict.addr), strict)
	})
	t.Run("UserOfAnotherProcess", func(t *testing.T) {
		t.Parallel()
		// The account is order's, and yet the word for the user is billing's.
		f := setupAccounts(t)
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte(f.cluster.token(orders, "user", time.Hour)), 0o600))
		billing := f.process(t, "billing", "billing")
		billing.Present(filepath.Join(dir, "token"))
		_, err := caller(t, billing, "order", f.user.addr).UnaryCall(auth.With(t.Context(), everything()), &testpb.SimpleRequest{})
		require.Equal(t, "call_token_invalid", fault.CodeOf(err))
	})
}

// TestAccounts_Enclosed has words with certificates for a connection that has none.
func TestAccounts_Enclosed(t *testing.T) {
	t.Parallel()
	f := setupAccounts(t)
	order, key, x5c := f.certified(t, "order", "order")
	_, billingKey, billingX5c := f.certified(t, "billing", "billing")
	_, strangerKey, strangerX5c := setup(t, "example.org").certified(t, "order", "order")
	conn := func(w word) *grpc.ClientConn {
		headers := withHeaders([]string{"Bearer " + f.cluster.token(orders, "user", time.Hour)})
		return rawConn(t, f.user.addr, nil, append(headers, grpc.WithPerRPCCredentials(fixed{w.String()}))...)
	}
	for name, c := range map[string]struct {
		spoil func(w *word)
		code  string
	}{
		"Good":           {func(*word) {}, ""},
		"OtherService":   {func(w *word) { w.key, w.header["x5c"] = billingKey, billingX5c }, "call_token_invalid"},
		"Stranger":       {func(w *word) { w.key, w.header["x5c"] = strangerKey, strangerX5c }, "call_token_invalid"},
		"OtherKey":       {func(w *word) { w.key = billingKey }, "call_token_invalid"},
		"NoCertificate":  {func(w *word) { delete(w.header, "x5c") }, "call_token_invalid"},
		"NotACert":       {func(w *word) { w.header["x5c"] = []string{"AAAA"} }, "call_token_invalid"},
		"NotBase64":      {func(w *word) { w.header["x5c"] = []string{"-"} }, "call_token_invalid"},
		"NotAList":       {func(w *word) { w.header["x5c"] = x5c[0] }, "call_token_invalid"},
		"NumbersAsCerts": {func(w *word) { w.header["x5c"] = []int{1} }, "call_token_invalid"},
		"ManyCerts":      {func(w *word) { w.header["x5c"] = []string{x5c[0], x5c[0], x5c[0], x5c[0], x5c[0]} }, "call_token_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := word{jwt.SigningMethodES256, key, map[string]any{"typ": "cleave-call+jwt", "x5c": x5c}, jwt.MapClaims{
				"iss": order.ID(), "aud": "user", "sub": "u1", "iat": f.now().Unix(), "exp": f.now().Add(time.Minute).Unix(),
			}}
			c.spoil(&w)
			client := testpb.NewTestServiceClient(rpc.NewEdge("order", "user", order.Calls("user"), conn(w)))
			_, err := client.UnaryCall(auth.With(t.Context(), auth.Principal{Subject: "u1"}), &testpb.SimpleRequest{})
			require.Equal(t, c.code, fault.CodeOf(err))
		})
	}
}

func TestAccounts_Refuses(t *testing.T) {
	t.Parallel()
	f := setupAccounts(t)
	order := f.process(t, "order", "order")
	stranger := newCluster(t, f.world)
	for name, c := range map[string]struct {
		headers []string
		code    string
	}{
		"NoToken":        {nil, "caller_unknown"},
		"TwoTokens":      {[]string{"Bearer " + f.cluster.token(orders, "user", time.Hour), "Bearer " + f.cluster.token(orders, "user", time.Hour)}, "caller_unknown"},
		"Basic":          {[]string{"Basic dXNlcjpwYXNz"}, "caller_unknown"},
		"NoJWT":          {[]string{"Bearer x"}, "caller_unknown"},
		"OtherAudience":  {[]string{"Bearer " + f.cluster.token(orders, "notification", time.Hour)}, "caller_unknown"},
		"Expired":        {[]string{"Bearer " + f.cluster.token(orders, "user", -time.Hour)}, "caller_unknown"},
		"OtherIssuer":    {[]string{"Bearer " + stranger.token(orders, "user", time.Hour)}, "caller_unknown"},
		"UnknownAccount": {[]string{"Bearer " + f.cluster.token(strangers, "user", time.Hour)}, "caller_denied"},
		"Gateway":        {[]string{"Bearer " + f.cluster.token("system:serviceaccount:shop:front.door", "user", time.Hour)}, "caller_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := rawConn(t, f.user.addr, nil, withHeaders(c.headers)...)
			_, err := testpb.NewTestServiceClient(rpc.NewEdge("order", "user", rpc.Local{}, conn)).UnaryCall(t.Context(), &testpb.SimpleRequest{})
			require.Equal(t, c.code, fault.CodeOf(err))
			stream, err := testpb.NewTestServiceClient(conn).FullDuplexCall(t.Context())
			require.NoError(t, err)
			_, err = stream.Recv()
			if name == "Gateway" { // which may hand over requests
				require.ErrorIs(t, err, io.EOF)
				return
			}
			require.Contains(t, []codes.Code{codes.Unauthenticated, codes.PermissionDenied}, status.Code(err))
		})
	}
	t.Run("Offline", func(t *testing.T) {
		t.Parallel()
		f := setupAccounts(t)
		f.cluster.offline.Store(true)
		conn := rawConn(t, f.user.addr, nil, withHeaders([]string{"Bearer " + f.cluster.token(orders, "user", time.Hour)})...)
		_, err := testpb.NewTestServiceClient(rpc.NewEdge("order", "user", rpc.Local{}, conn)).UnaryCall(t.Context(), &testpb.SimpleRequest{})
		require.Equal(t, "keys_unavailable", fault.CodeOf(err))
	})
	t.Run("Names", func(t *testing.T) {
		t.Parallel()
		for account, modules := range map[string][]string{
			"orders": {"order"}, "system:serviceaccount:shop": nil, "system:serviceaccount:Shop:orders": {"order"},
			orders: {"order", "order"}, strangers: {"a/b"}, "system:serviceaccount:shop:empty": {""},
		} {
			err := order.Accept(trust.Accounts{Verify: f.cluster.verify, Modules: map[string][]string{account: modules}})
			require.ErrorContains(t, err, account)
		}
	})
	t.Run("File", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		file := filepath.Join(dir, "token")
		order := f.process(t, "order2", "order")
		order.Present(file)
		for token, want := range map[string]string{
			"x": "not a JWT that expires",
			"":  "not a JWT that expires",
			f.cluster.token(orders, "order", time.Hour): `its audience is ["order"], want "user"`,
			f.cluster.token(orders, "user", -time.Hour): "it expired at",
		} {
			require.NoError(t, os.WriteFile(file, []byte(token), 0o600))
			_, err := order.CallCredentials("user")
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, file)
		}
		order.Present(filepath.Join(dir, "none"))
		_, err := order.CallCredentials("user")
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}

// withHeaders sends the authorization headers with each call.
func withHeaders(headers []string) []grpc.DialOption {
	with := func(ctx context.Context) context.Context {
		for _, h := range headers {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", h)
		}
		return ctx
	}
	return []grpc.DialOption{
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return invoke(with(ctx), method, in, out, conn, o...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(with(ctx), d, conn, method, o...)
		}),
	}
}
