package trust

import (
	"context"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"cleave/platform/auth"
	"cleave/platform/trust/authority"
)

// TestKeyOf fails for a field of auth.Principal that keyOf forgets: two users would share a token.
func TestKeyOf(t *testing.T) {
	t.Parallel()
	seen := map[[32]byte]string{}
	add := func(name, callee string, p auth.Principal) {
		k := keyOf(callee, &p)
		require.NotContains(t, seen, k, name)
		seen[k] = name
	}
	add("zero", "user", auth.Principal{})
	add("callee", "order", auth.Principal{})
	for f := range reflect.TypeFor[auth.Principal]().Fields() {
		var p auth.Principal
		v := reflect.ValueOf(&p).Elem().FieldByIndex(f.Index)
		switch v.Interface().(type) {
		case string:
			v.SetString("x")
		case int64:
			v.SetInt(1)
		case []string:
			v.Set(reflect.ValueOf([]string{}))
			add(f.Name+" empty", "user", p)
			v.Set(reflect.ValueOf([]string{"x", "y"}))
			add(f.Name+" two", "user", p)
			v.Set(reflect.ValueOf([]string{"xy"}))
		case time.Time:
			v.Set(reflect.ValueOf(time.Unix(0, 1)))
			add(f.Name+" nanosecond", "user", p)
			v.Set(reflect.ValueOf(time.Unix(1, 0)))
		default:
			require.Fail(t, "teach keyOf and this test the field", f.Name)
		}
		add(f.Name, "user", p)
	}
}

func TestCalls_Remembered(t *testing.T) {
	t.Parallel()
	e := newEnds(t)
	p := auth.Principal{Subject: "u1", Roles: []string{"customer"}}
	token := e.say(t, p)
	require.Equal(t, token, e.say(t, p))
	other := e.say(t, auth.Principal{Subject: "u1", Roles: []string{"admin"}})
	require.NotEqual(t, token, other)
	got, err := e.hear(other)
	require.NoError(t, err)
	require.Equal(t, []string{"admin"}, got.Roles)

	e.passed += lifetime / 2
	later := e.say(t, p)
	require.NotEqual(t, token, later, "one that has time left for the call")
	for _, good := range []string{token, later} {
		_, err = e.hear(good)
		require.NoError(t, err)
	}
	e.passed += lifetime/2 + leeway
	_, err = e.hear(token)
	require.Error(t, err)
}

// ends are both ends of a connection of a process to itself.
type ends struct {
	passed   time.Duration
	identity *Identity
	words    credentials.PerRPCCredentials
	out, in  context.Context
}

func newEnds(t testing.TB) *ends {
	t.Helper()
	e := &ends{}
	now := func() time.Time { return time.Now().Add(e.passed) }
	a, err := authority.Open(t.TempDir(), "example.org", now)
	require.NoError(t, err)
	files, err := a.Issue("user", []string{"user"})
	require.NoError(t, err)
	e.identity, err = Load(files.Cert, files.Key, files.CA, slog.New(slog.DiscardHandler), now)
	require.NoError(t, err)
	e.words, err = e.identity.CallCredentials("user")
	require.NoError(t, err)
	m := e.identity.material()
	e.out = credentials.NewContextWithRequestInfo(t.Context(), credentials.RequestInfo{AuthInfo: authInfo{shown: m}})
	e.in = peer.NewContext(t.Context(), &peer.Peer{AuthInfo: authInfo{peer: m.peer, key: &m.key.PublicKey}})
	return e
}

func (e *ends) say(t testing.TB, p auth.Principal) string {
	t.Helper()
	md, err := e.words.GetRequestMetadata(auth.With(e.out, p))
	require.NoError(t, err)
	return md[tokenKey]
}

func (e *ends) hear(token string) (auth.Principal, error) {
	return e.identity.Calls("user").Decode(metadata.NewIncomingContext(e.in, metadata.Pairs(tokenKey, token)), marker)
}

// BenchmarkCalls is what both ends add to a call: for a user of whom they know, and for a new one.
func BenchmarkCalls(b *testing.B) {
	e := newEnds(b)
	calls := e.identity.Calls("user")
	p := auth.Principal{
		Issuer: "https://id.example", Subject: "0199a7c2-5c5e-7b3a-9d53-5d2a4d0c1a11", Session: "0199a7c2-5c5e-7b3a-9d53-5d2a4d0c1a12",
		Client: "web", Generation: 3, Roles: []string{"customer"}, Audience: []string{"user", "order", "notification"}, Expires: time.Now().Truncate(time.Second),
	}
	b.Run("Known", func(b *testing.B) {
		out := auth.With(e.out, p)
		md, err := e.words.GetRequestMetadata(out)
		require.NoError(b, err)
		in := metadata.NewIncomingContext(e.in, metadata.New(md))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.words.GetRequestMetadata(out); err != nil {
				b.Fatal(err)
			}
			if err := calls.Admit(in, "user"); err != nil {
				b.Fatal(err)
			}
			if _, err := calls.Decode(in, marker); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(md[tokenKey])), "bytes")
	})
	b.Run("New", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Generation++
			if _, err := e.hear(e.say(b, p)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
