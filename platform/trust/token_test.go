package trust_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"cleave/platform/auth"
	"cleave/platform/fault"
	"cleave/platform/rpc"
	"cleave/platform/trust"
)

// word is a call token that a test makes by hand.
type word struct {
	method jwt.SigningMethod
	key    any
	header map[string]any
	claims jwt.MapClaims
}

func (w word) String() string {
	t := jwt.NewWithClaims(w.method, w.claims)
	for name, v := range w.header {
		t.Header[name] = v
	}
	text, err := t.SignedString(w.key)
	if err != nil {
		panic(err)
	}
	return text
}

// certified is the process with a new certificate, and its key.
func (w *world) certified(t *testing.T, process string, modules ...string) (id *trust.Identity, key any, x5c []string) {
	t.Helper()
	files, err := w.Issue(process, modules)
	require.NoError(t, err)
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	require.NoError(t, err)
	return w.load(t, files), pair.PrivateKey, []string{base64.StdEncoding.EncodeToString(pair.Certificate[0])}
}

// say calls the module on the edge from order with the words instead of what the connection would send.
func say(t *testing.T, order *trust.Identity, module, addr string, words ...string) error {
	t.Helper()
	conn := connectWith(t, order, module, addr, fixed(words))
	_, err := testpb.NewTestServiceClient(rpc.NewEdge("order", module, order.Calls(module), conn)).
		UnaryCall(auth.With(t.Context(), auth.Principal{Subject: "u1"}), &testpb.SimpleRequest{})
	return err
}

// fixed sends the same word for everybody.
type fixed []string

func (f fixed) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	md := map[string]string{}
	for _, word := range f {
		md["cleave-call-token"] = word
	}
	return md, nil
}

func (fixed) RequireTransportSecurity() bool { return true }

func TestCallToken(t *testing.T) {
	t.Parallel()
	w, stranger := setup(t, "example.org"), setup(t, "example.org")
	order, key, x5c := w.certified(t, "order", "order")
	billing, billingKey, billingX5c := w.certified(t, "billing", "billing")
	_, twinKey, twinX5c := w.certified(t, "order2", "order")
	_, strangerKey, strangerX5c := stranger.certified(t, "order", "order")
	user := serve(t, w.process(t, "user", "user"), "user")
	otherKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	good := func() word {
		return word{
			method: jwt.SigningMethodES256, key: key, header: map[string]any{"typ": "cleave-call+jwt"},
			claims: jwt.MapClaims{
				"iss": "spiffe://example.org/modules/order", "aud": "user", "sub": "u1",
				"iat": w.now().Unix(), "exp": w.now().Add(time.Minute).Unix(),
			},
		}
	}
	require.NoError(t, say(t, order, "user", user.addr, good().String()))
	for name, spoil := range map[string]func(w *word){
		"OtherKey":          func(w *word) { w.key = otherKey },
		"StrangersKey":      func(w *word) { w.key, w.header["x5c"] = strangerKey, strangerX5c },
		"Twin":              func(w *word) { w.key = twinKey },
		"TwinEnclosed":      func(w *word) { w.key, w.header["x5c"] = twinKey, twinX5c },
		"Enclosed":          func(w *word) { w.header["x5c"] = x5c },
		"OtherService":      func(w *word) { w.key, w.header["x5c"] = billingKey, billingX5c },
		"OtherServicesWord": func(w *word) { w.key, w.header["x5c"], w.claims["iss"] = billingKey, billingX5c, billing.ID() },
		"OtherIssuer":       func(w *word) { w.claims["iss"] = billing.ID() },
		"NoIssuer":          func(w *word) { delete(w.claims, "iss") },
		"ForAnother":        func(w *word) { w.claims["aud"] = "notification" },
		"ForSeveral":        func(w *word) { w.claims["aud"] = []string{"user", "notification"} },
		"ForNobody":         func(w *word) { delete(w.claims, "aud") },
		"Expired": func(x *word) {
			x.claims["iat"], x.claims["exp"] = w.now().Add(-2*time.Minute).Unix(), w.now().Add(-time.Minute).Unix()
		},
		"FromTheFuture": func(x *word) {
			x.claims["iat"], x.claims["exp"] = w.now().Add(time.Minute).Unix(), w.now().Add(2*time.Minute).Unix()
		},
		"TooLong":         func(x *word) { x.claims["exp"] = w.now().Add(2 * time.Minute).Unix() },
		"NoExpiry":        func(w *word) { delete(w.claims, "exp") },
		"NoTime":          func(w *word) { delete(w.claims, "iat") },
		"NumberAsSubject": func(w *word) { w.claims["sub"] = 1 },
		"AccessToken":     func(w *word) { w.header["typ"] = "at+jwt" },
		"NoType":          func(w *word) { delete(w.header, "typ") },
		"KeyOfItsOwn":     func(w *word) { w.header["jwk"] = map[string]string{"kty": "EC"} },
		"Extension":       func(w *word) { w.header["crit"] = []string{"b64"} },
		"None": func(w *word) {
			w.method, w.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
		},
		"Symmetric": func(w *word) { w.method, w.key = jwt.SigningMethodHS256, []byte(x5c[0]) },
		"Long": func(w *word) {
			w.claims["principal"] = map[string]any{"Subject": "u1", "Client": strings.Repeat("x", 16<<10)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := good()
			spoil(&x)
			before := user.called.Load()
			err := say(t, order, "user", user.addr, x.String())
			require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
			require.Equal(t, "call_token_invalid", fault.CodeOf(err))
			require.Equal(t, before, user.called.Load())
		})
	}
	t.Run("NoToken", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "call_token_invalid", fault.CodeOf(say(t, order, "user", user.addr)), "a user, and no word for them")
		for _, token := range []string{"", "x", "..", `{"Subject":"admin"}`} {
			require.Equal(t, "call_token_invalid", fault.CodeOf(say(t, order, "user", user.addr, token)))
		}
	})
	t.Run("PlainMetadata", func(t *testing.T) {
		t.Parallel()
		// What Local sends in a process.
		before := user.called.Load()
		ctx := metadata.AppendToOutgoingContext(t.Context(), "cleave-caller", "order", "cleave-principal", `{"Subject":"u1","Roles":["admin"]}`)
		_, err := testpb.NewTestServiceClient(connect(t, order, "user", user.addr)).UnaryCall(ctx, &testpb.SimpleRequest{})
		require.Equal(t, codes.Unauthenticated, status.Code(err))
		require.Equal(t, before, user.called.Load())
	})
}

func TestCallToken_Replayed(t *testing.T) {
	t.Parallel()
	w := setup(t, "example.org")
	order, key, _ := w.certified(t, "order", "order")
	billing := w.process(t, "billing", "billing", "order")
	both := w.process(t, "both", "user", "notification")
	user, notification := serve(t, both, "user"), serve(t, both, "notification")
	token := func() string {
		return word{jwt.SigningMethodES256, key, map[string]any{"typ": "cleave-call+jwt"}, jwt.MapClaims{
			"iss": order.ID(), "aud": "user", "sub": "u1", "iat": w.now().Unix(), "exp": w.now().Add(time.Minute).Unix(),
		}}.String()
	}
	old := token()
	require.NoError(t, say(t, order, "user", user.addr, old))
	require.NoError(t, say(t, order, "user", user.addr, old), "until it expires")

	// One process that runs two modules remembers the token, and yet does not take it for the other one.
	require.Equal(t, "call_token_invalid", fault.CodeOf(say(t, order, "notification", notification.addr, old)), "for another callee")
	require.Zero(t, notification.called.Load())
	require.Equal(t, "call_token_invalid", fault.CodeOf(say(t, billing, "user", user.addr, old)), "by another process")

	w.pass(2 * time.Minute)
	require.Equal(t, "call_token_invalid", fault.CodeOf(say(t, order, "user", user.addr, old)), "too old, though remembered")
	require.NoError(t, say(t, order, "user", user.addr, token()))
}
