package keys

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"cleave/modules/user/internal/store"
	"cleave/modules/user/migrations"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	secretA = "the first secret, 32 characters or more"
	secretB = "the second secret, 32 characters or more"
)

type fixture struct {
	db    *db.DB
	clock atomic.Int64 // added to the time, in nanoseconds
}

func (f *fixture) now() time.Time { return time.Now().Add(time.Duration(f.clock.Load())) }

// replica opens the keys as one process does.
func (f *fixture) replica(t *testing.T, edit ...func(*Options)) (*Ring, error) {
	t.Helper()
	o := Options{DB: f.db, Store: store.New(f.db), Log: slog.New(slog.DiscardHandler), Now: f.now}
	for _, e := range edit {
		e(&o)
	}
	return Open(t.Context(), o)
}

func (f *fixture) open(t *testing.T, edit ...func(*Options)) *Ring {
	t.Helper()
	r, err := f.replica(t, edit...)
	require.NoError(t, err)
	return r
}

func secrets(now, old string) func(*Options) {
	return func(o *Options) { o.Secret, o.Old = now, old }
}

// stored is what the database keeps of the private keys.
func (f *fixture) stored(t *testing.T) (rows []store.SigningKey) {
	t.Helper()
	rows, err := store.New(f.db).SigningKeys(t.Context())
	require.NoError(t, err)
	return rows
}

func each(t *testing.T, fn func(t *testing.T, f *fixture)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		fn(t, &fixture{db: dbtest.Open(t, c, "user", migrations.FS, store.Constraints)})
	})
}

// states are those of the keys, the oldest first.
func states(t *testing.T, r *Ring) (all []string) {
	t.Helper()
	infos, err := r.List(t.Context())
	require.NoError(t, err)
	for _, k := range infos {
		all = append(all, k.State)
	}
	return all
}

func TestOpenTogether(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		rings := make([]*Ring, 8)
		var g errgroup.Group
		for i := range rings {
			g.Go(func() (err error) {
				rings[i], err = f.replica(t)
				return err
			})
		}
		require.NoError(t, g.Wait())
		for _, r := range rings {
			require.Equal(t, []string{StateCurrent, StateNext}, states(t, r))
			require.Equal(t, rings[0].Signing().ID, r.Signing().ID)
		}
	})
}

// TestOpenAfterUpgrade starts on a key of the release that had no public keys, no next key and no encryption.
func TestOpenAfterUpgrade(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		before := f.open(t).Signing()
		require.NoError(t, f.db.Tx(t.Context(), func(ctx context.Context) error {
			if err := f.db.Queue(ctx).Exec("DELETE FROM signing_keys WHERE activates_at = 0").Error; err != nil {
				return err
			}
			return f.db.Queue(ctx).Exec("UPDATE signing_keys SET public_key = substr(public_key, 1, 0)").Error
		}))
		r := f.open(t)
		require.Equal(t, []string{StateCurrent, StateNext}, states(t, r))
		require.Equal(t, before.ID, r.Signing().ID)
		public, err := r.PublicKeys(t.Context())
		require.NoError(t, err)
		require.True(t, before.Private.PublicKey.Equal(public[before.ID]))
	})
}

// TestRotateUnderTraffic signs on two replicas and verifies while the keys rotate: no token is ever refused.
func TestRotateUnderTraffic(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a, b := f.open(t), f.open(t)
		verifier := auth.NewVerifier(a, "http://issuer", "user", &auth.Revocations{}, f.now)
		kids := map[string]bool{}
		var early []string
		traffic := func() {
			for _, r := range []*Ring{a, b} {
				token, _, err := auth.NewSigner(r.Signing, "http://issuer", []string{"user"}, auth.MaxLifetime, f.now).Sign(auth.Principal{Subject: "u"})
				require.NoError(t, err)
				_, err = verifier.Verify(t.Context(), token)
				require.NoError(t, err)
				kids[r.Signing().ID] = true
				early = append(early, token)
			}
		}
		traffic()
		for range 5 {
			_, err := a.Rotate(t.Context())
			require.NoError(t, err)
			traffic() // the other replica has not noticed
			f.clock.Add(int64(reloadEvery))
			require.NoError(t, b.tend(t.Context()))
			traffic()
			f.clock.Add(int64(settle))
			traffic()
			require.Equal(t, a.Signing().ID, b.Signing().ID)
		}
		require.Len(t, kids, 6, "each rotation brought a key")
		for _, token := range early {
			_, err := verifier.Verify(t.Context(), token)
			require.NoError(t, err, "what a former key has signed stays good")
		}
	})
}

func TestRotate(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		r := f.open(t)
		f.clock.Add(int64(settle))
		next := f.stored(t)[1].Kid
		from, err := r.Rotate(t.Context())
		require.NoError(t, err)
		require.WithinDuration(t, f.now(), from, settle/2, "at once")
		require.Equal(t, next, r.Signing().ID)
		require.Equal(t, []string{StateFormer, StateCurrent, StateNext}, states(t, r))

		from, err = r.Rotate(t.Context())
		require.NoError(t, err)
		require.Equal(t, next, r.Signing().ID, "verifiers may not know the next key yet")
		require.Equal(t, []string{StateFormer, StateCurrent, StateNext, StateNext}, states(t, r))
		f.clock.Add(int64(settle))
		require.NotEqual(t, next, r.Signing().ID)
		require.False(t, from.After(f.now()))

		f.clock.Add(int64(keep))
		require.NoError(t, r.tend(t.Context()))
		require.Equal(t, []string{StateCurrent, StateNext}, states(t, r), "what can have signed no living token is gone")
	})
}

func TestRotateByAge(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		const age = 24 * time.Hour
		byAge := func(o *Options) { o.Rotation = age }
		a, b := f.open(t, byAge), f.open(t, byAge)
		first := a.Signing().ID
		f.clock.Add(int64(age - time.Minute))
		require.NoError(t, a.tend(t.Context()))
		require.Equal(t, first, a.Signing().ID)

		f.clock.Add(int64(2 * time.Minute))
		var g errgroup.Group
		for _, r := range []*Ring{a, b} {
			g.Go(func() error { return r.tend(t.Context()) })
		}
		require.NoError(t, g.Wait())
		require.NoError(t, b.tend(t.Context()))
		require.NotEqual(t, first, a.Signing().ID)
		require.Equal(t, a.Signing().ID, b.Signing().ID)
		require.Equal(t, []string{StateFormer, StateCurrent, StateNext}, states(t, a), "replicas that notice together rotate once")
	})
}

func TestEncryption(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		plain := f.open(t)
		require.False(t, plain.Encrypted())
		before := f.stored(t)

		sealed := f.open(t, secrets(secretA, ""))
		require.True(t, sealed.Encrypted())
		require.Equal(t, plain.Signing().ID, sealed.Signing().ID)
		for i, k := range f.stored(t) {
			require.NotEmpty(t, k.SealedBy)
			require.NotContains(t, string(k.PrivateKey), string(before[i].PrivateKey[36:68]))
		}

		_, err := f.replica(t, secrets(secretB, ""))
		require.Equal(t, "key_encryption_key", fault.CodeOf(err))
		_, err = f.replica(t)
		require.Equal(t, "key_encryption_key", fault.CodeOf(err))

		other := f.open(t, secrets(secretB, secretA))
		require.Equal(t, plain.Signing().ID, other.Signing().ID)
		_, err = f.replica(t, secrets(secretA, ""))
		require.Error(t, err, "the old secret has had its day")

		// A replica with the old secret goes on: it signs with what it has, and verifies all.
		require.NoError(t, sealed.load(t.Context()))
		_, err = other.Rotate(t.Context())
		require.NoError(t, err)
		require.Error(t, sealed.load(t.Context()))
		require.NotEmpty(t, sealed.Signing().ID)
		public, err := sealed.PublicKeys(t.Context())
		require.NoError(t, err)
		require.Len(t, public, 3)

		again := f.open(t, secrets("", secretB))
		require.False(t, again.Encrypted())
		for i, k := range f.stored(t)[:2] {
			require.Equal(t, before[i].PrivateKey, k.PrivateKey)
		}
	})
}

func TestEncryption_RowsCannotBeSwapped(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.open(t, secrets(secretA, ""))
		rows := f.stored(t)
		require.NoError(t, f.db.Tx(t.Context(), func(ctx context.Context) error {
			return f.db.Queue(ctx).Exec("UPDATE signing_keys SET private_key = ? WHERE kid = ?", rows[0].PrivateKey, rows[1].Kid).Error
		}))
		_, err := f.replica(t, secrets(secretA, ""))
		require.ErrorContains(t, err, "decrypt the signing key "+rows[1].Kid)
	})
}

func TestJWKS(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		r := f.open(t)
		w := httptest.NewRecorder()
		r.JWKS(w, nil)
		var set struct{ Keys []map[string]string }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &set))
		require.Len(t, set.Keys, 2)
		for i, k := range f.stored(t) {
			require.Equal(t, k.Kid, set.Keys[i]["kid"])
			require.Equal(t, "ES256", set.Keys[i]["alg"])
			require.NotContains(t, set.Keys[i], "d", "private parts stay private")
		}
	})
}
