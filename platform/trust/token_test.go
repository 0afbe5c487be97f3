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
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

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

// signer returns the key and the x5c of a new certificate.
func (w *world) signer(t *testing.T, process string, modules ...string) (key any, x5c []string) {
	t.Helper()
	files, err := w.Issue(process, modules)
	require.NoError(t, err)
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	require.NoError(t, err)
	return pair.PrivateKey, []string{base64.StdEncoding.EncodeToString(pair.Certificate[0])}
}

// say calls user on the edge from order with the token instead of what the edge would send.
func say(t *testing.T, order *trust.Identity, addr, token string) error {
	t.Helper()
	client := testpb.NewTestServiceClient(rpc.NewEdge("order", "user", fixed{order.Calls("user"), token}, connect(t, order, "user", addr)))
	_, err := client.UnaryCall(auth.With(t.Context(), auth.Principal{Subject: "u1"}), &testpb.SimpleRequest{})
	return err
}

// fixed sends the same token for everybody.
type fixed struct {
	trust.Calls
	token string
}

func (f fixed) Encode(context.Context, auth.Principal) (string, error) { return f.token, nil }

func TestCallToken(t *testing.T) {
	t.Parallel()
	w, stranger := setup(t, "example.org"), setup(t, "example.org")
	order, billing := w.process(t, "order", "order"), w.process(t, "billing", "billing")
	user := serve(t, w.process(t, "user", "user"), "user")
	key, x5c := w.signer(t, "order2", "order")
	billingKey, billingX5c := w.signer(t, "billing2", "billing")
	strangerKey, strangerX5c := stranger.signer(t, "order", "order")
	otherKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	good := func() word {
		return word{
			method: jwt.SigningMethodES256, key: key, header: map[string]any{"typ": "cleave-call+jwt", "x5c": x5c},
			claims: jwt.MapClaims{
				"iss": "spiffe://example.org/modules/order", "aud": "user", "sub": "u1",
				"iat": w.now().Unix(), "exp": w.now().Add(time.Minute).Unix(), "principal": map[string]any{"Subject": "u1"},
			},
		}
	}
	require.NoError(t, say(t, order, user.addr, good().String()), "signed by another process of the same id, such as before a renewal")
	for name, spoil := range map[string]func(w *word){
		"OtherKey":          func(w *word) { w.key = otherKey },
		"StrangersKey":      func(w *word) { w.key, w.header["x5c"] = strangerKey, strangerX5c },
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
		"TooLong":        func(x *word) { x.claims["exp"] = w.now().Add(2 * time.Minute).Unix() },
		"NoExpiry":       func(w *word) { delete(w.claims, "exp") },
		"NoTime":         func(w *word) { delete(w.claims, "iat") },
		"OtherSubject":   func(w *word) { w.claims["sub"] = "u2" },
		"AccessToken":    func(w *word) { w.header["typ"] = "at+jwt" },
		"NoType":         func(w *word) { delete(w.header, "typ") },
		"NoCertificate":  func(w *word) { delete(w.header, "x5c") },
		"NotACert":       func(w *word) { w.header["x5c"] = []string{"AAAA"} },
		"NotBase64":      func(w *word) { w.header["x5c"] = []string{"-"} },
		"NotAList":       func(w *word) { w.header["x5c"] = x5c[0] },
		"NumbersAsCerts": func(w *word) { w.header["x5c"] = []int{1} },
		"ManyCerts":      func(w *word) { w.header["x5c"] = []string{x5c[0], x5c[0], x5c[0], x5c[0], x5c[0]} },
		"KeyOfItsOwn":    func(w *word) { w.header["jwk"] = map[string]string{"kty": "EC"} },
		"Extension":      func(w *word) { w.header["crit"] = []string{"b64"} },
		"None": func(w *word) {
			w.method, w.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
		},
		"Symmetric": func(w *word) { w.method, w.key = jwt.SigningMethodHS256, []byte(x5c[0]) },
		"Long": func(w *word) {
			w.claims["principal"] = map[string]any{"Subject": "u1", "Client": strings.Repeat("x", 16<<10)}
		},
		"NoObject": func(w *word) { w.claims["principal"] = "u1" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := good()
			spoil(&x)
			before := user.called.Load()
			err := say(t, order, user.addr, x.String())
			require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
			require.Equal(t, "call_token_invalid", fault.CodeOf(err))
			require.Equal(t, before, user.called.Load())
		})
	}
	t.Run("NoToken", func(t *testing.T) {
		t.Parallel()
		for _, token := range []string{"x", "..", `{"Subject":"admin"}`} {
			require.Equal(t, "call_token_invalid", fault.CodeOf(say(t, order, user.addr, token)))
		}
	})
}

func TestCallToken_Replayed(t *testing.T) {
	t.Parallel()
	w := setup(t, "example.org")
	order, billing := w.process(t, "order", "order"), w.process(t, "billing", "billing", "order")
	both := w.process(t, "both", "user", "notification")
	user, notification := serve(t, both, "user"), serve(t, both, "notification")
	token, err := order.Calls("user").Encode(t.Context(), everything())
	require.NoError(t, err)
	require.NoError(t, say(t, order, user.addr, token))
	require.NoError(t, say(t, order, user.addr, token), "until it expires")

	// One process that runs two modules remembers the token, and yet does not take it for the other one.
	edge := rpc.NewEdge("order", "notification", fixed{order.Calls("notification"), token}, connect(t, order, "notification", notification.addr))
	_, err = testpb.NewTestServiceClient(edge).UnaryCall(auth.With(t.Context(), everything()), &testpb.SimpleRequest{})
	require.Equal(t, "call_token_invalid", fault.CodeOf(err), "for another callee")
	require.Zero(t, notification.called.Load())
	require.Equal(t, "call_token_invalid", fault.CodeOf(say(t, billing, user.addr, token)), "by another process")

	w.pass(2 * time.Minute)
	require.Equal(t, "call_token_invalid", fault.CodeOf(say(t, order, user.addr, token)), "too old, though remembered")
	fresh, err := order.Calls("user").Encode(t.Context(), everything())
	require.NoError(t, err)
	require.NoError(t, say(t, order, user.addr, fresh))
}

// A caller that proves nothing has no principal, either: what Local sends is refused on a network.
func TestCallToken_PlainMetadata(t *testing.T) {
	t.Parallel()
	w := setup(t, "example.org")
	user := serve(t, w.process(t, "user", "user"), "user")
	conn := connect(t, w.process(t, "order", "order"), "user", user.addr)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "cleave-caller", "order", "cleave-principal", `{"Subject":"u1","Roles":["admin"]}`)
	_, err := testpb.NewTestServiceClient(conn).UnaryCall(ctx, &testpb.SimpleRequest{})
	require.Error(t, err)
	require.Zero(t, user.called.Load())
}
