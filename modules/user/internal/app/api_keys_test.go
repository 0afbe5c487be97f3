package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/domain"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
)

func TestAPIKeys(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u, stranger := f.registered(t, "ada@example.com"), f.registered(t, "eve@example.com")
		p := f.principal(t, f.login(t, u))
		ctx := auth.With(t.Context(), p)
		wanted := app.NewAPIKey{Name: "Report", Scopes: []string{"order:list", "user"}, TTL: 24 * time.Hour}
		_, _, err := f.CreateAPIKey(ctx, p, "wrong horse", wanted)
		require.ErrorIs(t, err, domain.ErrPasswordWrong)
		key, made, err := f.CreateAPIKey(ctx, p, secret, wanted)
		require.NoError(t, err)
		require.Regexp(t, `^cleave_pk_[A-Za-z0-9]{43,}$`, key)
		require.True(t, strings.HasPrefix(key, made.Prefix))
		require.Len(t, made.Prefix, len("cleave_pk_")+8)
		require.Zero(t, f.count(t, "SELECT count(*) FROM api_keys WHERE hash = ? OR name = ?", key, key), "only the hash is kept")

		token, err := f.ExchangeAPIKey(ctx, key)
		require.NoError(t, err)
		require.Equal(t, wanted.Scopes, token.Scopes)
		as := f.principal(t, app.Tokens{Access: token.Access})
		require.Equal(t, u.ID, as.Subject)
		require.Equal(t, wanted.Scopes, as.Scopes)
		require.Equal(t, made.ID, as.Session)
		_, err = f.ExchangeAPIKey(ctx, key[:len(key)-1]+"!")
		require.ErrorIs(t, err, domain.ErrAPIKey)

		keys, err := f.APIKeys(ctx, u.ID)
		require.NoError(t, err)
		require.Len(t, keys, 1)
		require.False(t, keys[0].LastUsedAt.IsZero())
		keys, err = f.APIKeys(ctx, stranger.ID)
		require.NoError(t, err)
		require.Empty(t, keys)

		require.ErrorIs(t, f.RevokeAPIKey(ctx, stranger.ID, made.ID), domain.ErrAPIKeyNotFound)
		require.NoError(t, f.RevokeAPIKey(ctx, u.ID, made.ID))
		require.ErrorIs(t, f.RevokeAPIKey(ctx, u.ID, made.ID), domain.ErrAPIKeyNotFound)
		require.EqualValues(t, 1, f.events(t, userv1.Revoked, u.ID), "its access tokens end with it")
		_, err = f.ExchangeAPIKey(ctx, key)
		require.ErrorIs(t, err, domain.ErrAPIKey)
	})
}

func TestExchangeAPIKey(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u := f.registered(t, "ada@example.com")
		p := f.principal(t, f.login(t, u))
		ctx := auth.With(t.Context(), p)
		key, _, err := f.CreateAPIKey(ctx, p, secret, app.NewAPIKey{Name: "Report", Scopes: []string{"order"}, TTL: time.Hour})
		require.NoError(t, err)
		_, err = f.DisableUser(staff(t), f.NewID(), u.ID)
		require.NoError(t, err)
		_, err = f.ExchangeAPIKey(ctx, key)
		require.ErrorIs(t, err, domain.ErrLogInDisabled)
		_, err = f.EnableUser(staff(t), u.ID)
		require.NoError(t, err)
		f.clock.Store(int64(time.Hour + time.Second))
		_, err = f.ExchangeAPIKey(ctx, key)
		require.ErrorIs(t, err, domain.ErrAPIKey, "it has expired")
	})
}
