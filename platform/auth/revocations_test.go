package auth

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/fault"
)

func TestVerify_Revoked(t *testing.T) {
	t.Parallel()
	f := setup(t)
	until := RevokedUntil(f.clock.now())
	token := func(p Principal) string {
		token, _, err := f.signer.Sign(p)
		require.NoError(t, err)
		_, err = f.verifier.Verify(t.Context(), token) // remembered from here on
		require.NoError(t, err)
		return token
	}
	refused := func(token, why string) {
		_, err := f.verifier.Verify(t.Context(), token)
		require.Equal(t, "token_revoked", fault.CodeOf(err), why)
		require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	}
	old := token(Principal{Subject: "u1", Session: "s1", Generation: 1})
	other := token(Principal{Subject: "u1", Session: "s2", Generation: 1})
	stranger := token(Principal{Subject: "u2", Session: "s3", Generation: 1})
	bare := token(Principal{Subject: "u3"})

	f.revoked.Add(Revocation{Subject: "u1", Session: "s1", Until: until})
	refused(old, "its session has ended")
	refused(f.renewed(t, Principal{Subject: "u1", Session: "s1", Generation: 9}), "a session does not come back")
	for _, good := range []string{other, stranger, bare} {
		_, err := f.verifier.Verify(t.Context(), good)
		require.NoError(t, err)
	}

	f.revoked.Add(Revocation{Subject: "u1", Before: 3, Until: until}, Revocation{Subject: "u1", Before: 2, Until: until})
	refused(other, "its user has changed")
	refused(f.renewed(t, Principal{Subject: "u1", Session: "s2", Generation: 2}), "older news change nothing")
	_, err := f.verifier.Verify(t.Context(), f.renewed(t, Principal{Subject: "u1", Session: "s4", Generation: 3}))
	require.NoError(t, err)
	_, err = f.verifier.Verify(t.Context(), stranger)
	require.NoError(t, err)
}

func (f *fixture) renewed(t *testing.T, p Principal) string {
	t.Helper()
	token, _, err := f.signer.Sign(p)
	require.NoError(t, err)
	return token
}

func TestRevocations_Forget(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var r Revocations
	for i := range 10 {
		r.Add(Revocation{Session: "s" + strconv.Itoa(i), Until: now.Add(time.Duration(i) * time.Hour)},
			Revocation{Subject: "u" + strconv.Itoa(i), Before: 1, Until: now.Add(time.Duration(i) * time.Hour)})
	}
	require.Zero(t, r.Forget(now.Add(5*time.Hour)))
	require.False(t, r.Revoked(Principal{Session: "s5"}))
	require.True(t, r.Revoked(Principal{Session: "s6"}))
	require.False(t, r.Revoked(Principal{Subject: "u5"}))
	require.True(t, r.Revoked(Principal{Subject: "u6"}))

	require.Equal(t, 4, r.forget(now.Add(5*time.Hour), 4), "what is closest to its end goes first")
	require.False(t, r.Revoked(Principal{Session: "s7"}))
	require.True(t, r.Revoked(Principal{Session: "s8"}))
}

// BenchmarkVerify is a token that was verified before, which is all but the first request with it.
func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		b.Run("revocations="+strconv.Itoa(n), func(b *testing.B) {
			f := setup(b)
			for i := range n {
				f.revoked.Add(Revocation{Subject: "u" + strconv.Itoa(i), Before: 1, Until: f.clock.now().Add(time.Hour)},
					Revocation{Session: "s" + strconv.Itoa(i), Until: f.clock.now().Add(time.Hour)})
			}
			token, _, err := f.signer.Sign(Principal{Subject: "0190b8f6-9c1e-7000-8000-000000000001", Session: "0190b8f6-9c1e-7000-8000-000000000002"})
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.verifier.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestWhile(t *testing.T) {
	t.Parallel()
	f := setup(t)
	while := func(p Principal) <-chan struct{} {
		token, _, err := f.signer.Sign(p)
		require.NoError(t, err)
		p, err = f.verifier.Verify(t.Context(), token)
		require.NoError(t, err)
		ctx, stop := f.verifier.While(t.Context(), p)
		t.Cleanup(stop)
		return ctx.Done()
	}
	ended := func(done <-chan struct{}, why string) {
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal(why)
		}
	}
	session, subject, other := while(Principal{Subject: "u1", Session: "s1", Generation: 1}), while(Principal{Subject: "u1", Session: "s2", Generation: 1}), while(Principal{Subject: "u2", Session: "s3"})
	until := RevokedUntil(f.clock.now())
	f.revoked.Add(Revocation{Subject: "u1", Session: "s1", Until: until})
	ended(session, "its session has ended")
	select {
	case <-subject:
		t.Fatal("the user's other session goes on")
	default:
	}
	f.revoked.Add(Revocation{Subject: "u1", Before: 2, Until: until})
	ended(subject, "its user has changed")

	gone := Principal{Subject: "u1", Session: "s1", Expires: f.clock.now().Add(time.Hour)}
	late, stop := f.verifier.While(t.Context(), gone)
	ended(late.Done(), "revoked since the token was verified")
	stop()
	select {
	case <-other:
		t.Fatal("another user's token goes on")
	default:
	}
	f.clock.pass(10*time.Minute - 20*time.Millisecond)
	last, stop := f.verifier.While(t.Context(), Principal{Subject: "u2", Session: "s3", Expires: f.clock.now().Add(20 * time.Millisecond)})
	ended(last.Done(), "the token has expired")
	stop()
	require.Len(t, f.revoked.watched, 3, "those of the tokens above, until the test has ended")
}
