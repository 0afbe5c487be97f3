package trust

import (
	"context"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	user, ctx, pass := pair(t)
	p := auth.Principal{Subject: "u1", Roles: []string{"customer"}}
	token, err := user.Encode(ctx, p)
	require.NoError(t, err)
	again, err := user.Encode(ctx, p)
	require.NoError(t, err)
	require.Equal(t, token, again)
	other, err := user.Encode(ctx, auth.Principal{Subject: "u1", Roles: []string{"admin"}})
	require.NoError(t, err)
	require.NotEqual(t, token, other)
	got, err := user.Decode(ctx, other)
	require.NoError(t, err)
	require.Equal(t, []string{"admin"}, got.Roles)

	pass(lifetime / 2)
	later, err := user.Encode(ctx, p)
	require.NoError(t, err)
	require.NotEqual(t, token, later, "one that has time left for the call")
	for _, good := range []string{token, later} {
		_, err = user.Decode(ctx, good)
		require.NoError(t, err)
	}
	pass(lifetime/2 + leeway)
	_, err = user.Decode(ctx, token)
	require.Error(t, err)
}

// pair returns the calls of a process to itself, and the context of a call that it has sent.
func pair(t testing.TB) (user Calls, incoming context.Context, pass func(time.Duration)) {
	t.Helper()
	var passed time.Duration
	now := func() time.Time { return time.Now().Add(passed) }
	a, err := authority.Open(t.TempDir(), "example.org", now)
	require.NoError(t, err)
	files, err := a.Issue("user", []string{"user"})
	require.NoError(t, err)
	i, err := Load(files.Cert, files.Key, files.CA, slog.New(slog.DiscardHandler), now)
	require.NoError(t, err)
	ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: authInfo{peer: i.self}})
	return i.Calls("user"), ctx, func(d time.Duration) { passed += d }
}

func BenchmarkCalls(b *testing.B) {
	user, ctx, _ := pair(b)
	p := auth.Principal{
		Issuer: "https://id.example", Subject: "0199a7c2-5c5e-7b3a-9d53-5d2a4d0c1a11", Session: "0199a7c2-5c5e-7b3a-9d53-5d2a4d0c1a12",
		Client: "web", Generation: 3, Roles: []string{"customer"}, Audience: []string{"user", "order", "notification"}, Expires: time.Now(),
	}
	b.Run("Remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			token, err := user.Encode(ctx, p)
			if err != nil {
				b.Fatal(err)
			}
			if err := user.Admit(ctx, "user"); err != nil {
				b.Fatal(err)
			}
			if _, err := user.Decode(ctx, token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("New", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Generation++
			token, err := user.Encode(ctx, p)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := user.Decode(ctx, token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
