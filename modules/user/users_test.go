package user_test

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	userv1 "cleave/modules/user/v1"
	userrest "cleave/modules/user/v1/rest"
)

func TestRegisterUser(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		const good = `{"email": "Ada@Example.com", "password": "correct horse", "display_name": "Ada"}`
		a := f.do(t, http.MethodPost, "/api/v1/users", "", good, "Idempotency-Key", "one")
		require.Equal(t, http.StatusCreated, a.status, "%v", a.body)
		require.Equal(t, "/api/v1/users/"+a.body["id"].(string), a.header.Get("Location"))
		require.Equal(t, `"1"`, a.header.Get("ETag"))
		require.Equal(t, []any{"customer"}, a.body["roles"])
		require.Equal(t, "Ada@Example.com", a.body["email"])
		require.NotContains(t, a.body, "password")

		t.Run("Replayed", func(t *testing.T) {
			again := f.do(t, http.MethodPost, "/api/v1/users", "", good, "Idempotency-Key", "one")
			require.Equal(t, a.status, again.status)
			require.Equal(t, a.body, again.body)
			require.Equal(t, a.header.Get("Location"), again.header.Get("Location"))
			other := strings.Replace(good, "Ada\"", "Eve\"", 1)
			f.refused(t, f.do(t, http.MethodPost, "/api/v1/users", "", other, "Idempotency-Key", "one"), http.StatusUnprocessableEntity, "idempotency_key_reused")
		})
		t.Run("EmailTaken", func(t *testing.T) {
			for _, body := range []string{good, strings.Replace(good, "Ada@Example", "aDA@eXAMPLE", 1)} {
				b := f.do(t, http.MethodPost, "/api/v1/users", "", body)
				require.Equal(t, a.status, b.status, "%v", b.body)
				require.Equal(t, slices.Sorted(maps.Keys(a.header)), slices.Sorted(maps.Keys(b.header)))
				require.Equal(t, "/api/v1/users/"+b.body["id"].(string), b.header.Get("Location"))
				require.Regexp(t, `^"1"$`, b.header.Get("ETag"))
				first := maps.Clone(a.body)
				for _, field := range []string{"id", "created_at", "updated_at", "email"} {
					require.IsType(t, first[field], b.body[field])
					delete(first, field)
					delete(b.body, field)
				}
				require.Equal(t, first, b.body, "the answer does not tell who is registered")
				_, e := next[*userv1.UserRegistrationAttempted](t, f)
				require.NotEmpty(t, e.GetUserId())
			}
		})
		for name, c := range map[string]struct {
			body   string
			status int
			field  string
		}{
			"Malformed":      {`{"email": `, 400, ""},
			"NoBody":         {"", 400, ""},
			"UnknownField":   {`{"email": "e@example.com", "password": "correct horse", "display_name": "E", "roles": ["admin"]}`, 400, "/roles"},
			"OtherCase":      {`{"email": "e@example.com", "password": "correct horse", "display_name": "E", "Password": "x"}`, 400, "/Password"},
			"MissingField":   {`{"email": "e@example.com", "password": "correct horse"}`, 400, "/display_name"},
			"WrongType":      {`{"email": 1, "password": "correct horse", "display_name": "E"}`, 400, "/email"},
			"NotAnEmail":     {`{"email": "nonsense", "password": "correct horse", "display_name": "E"}`, 422, "/email"},
			"EmailLiteral":   {`{"email": "e@[127.0.0.1]", "password": "correct horse", "display_name": "E"}`, 422, "/email"},
			"ShortPassword":  {`{"email": "e@example.com", "password": "1234567", "display_name": "E"}`, 422, "/password"},
			"CommonPassword": {`{"email": "e@example.com", "password": "baseball", "display_name": "E"}`, 422, "/password"},
			"OwnName":        {`{"email": "babbage@example.com", "password": "babbage!", "display_name": "E"}`, 422, "/password"},
			"LongPassword":   {`{"email": "e@example.com", "password": "` + strings.Repeat("x", 129) + `", "display_name": "E"}`, 422, "/password"},
			"EmptyName":      {`{"email": "e@example.com", "password": "correct horse", "display_name": ""}`, 422, "/display_name"},
			"SpaceInFront":   {`{"email": "e@example.com", "password": "correct horse", "display_name": " E"}`, 422, "/display_name"},
			"WideSpace":      {"{\"email\": \"e@example.com\", \"password\": \"correct horse\", \"display_name\": \"E\u2003\"}", 422, "/display_name"},
			"C1Control":      {"{\"email\": \"e@example.com\", \"password\": \"correct horse\", \"display_name\": \"E\u0085E\"}", 422, "/display_name"},
			"NUL":            {`{"email": "e@example.com", "password": "correct horse", "display_name": "E\u0000E"}`, 400, ""},
			"InvalidUTF8":    {"{\"email\": \"e@example.com\", \"password\": \"correct horse\", \"display_name\": \"\xff\"}", 400, ""},
			"Oversize":       {`{"email": "` + strings.Repeat("x", 2<<20) + `"}`, 413, ""},
		} {
			t.Run(name, func(t *testing.T) {
				a := f.do(t, http.MethodPost, "/api/v1/users", "", c.body)
				require.Equal(t, c.status, a.status, "%v", a.body)
				if c.field != "" {
					require.Equal(t, c.field, a.field(), "%v", a.body)
				}
			})
		}
		t.Run("MediaType", func(t *testing.T) {
			a := f.do(t, http.MethodPost, "/api/v1/users", "", good, "Content-Type", "text/plain")
			require.Equal(t, http.StatusUnsupportedMediaType, a.status)
		})
		var users, keys int64
		d := f.host.DB("user")
		require.NoError(t, d.Conn(t.Context()).Raw("SELECT count(*) FROM users").Scan(&users).Error)
		require.NoError(t, d.Conn(t.Context()).Raw("SELECT count(*) FROM accounts").Scan(&keys).Error)
		require.EqualValues(t, 1, users, "the refused wrote nothing")
		require.EqualValues(t, 1, keys)
	})
}

func TestRegisterUserOnce(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ids := make(chan uuid.UUID, 8)
		g, ctx := errgroup.WithContext(t.Context())
		for range 8 {
			g.Go(func() error {
				r, err := f.client.RegisterUserWithResponse(ctx, nil, userrest.RegisterUser{Email: "ada@example.com", Password: secret, DisplayName: "Ada"})
				if err != nil {
					return err
				}
				if r.JSON201 == nil {
					return errors.New(r.Status())
				}
				ids <- r.JSON201.ID
				return nil
			})
		}
		require.NoError(t, g.Wait())
		r, err := f.client.LogInWithResponse(t.Context(), nil, userrest.LogIn{Email: "ada@example.com", Password: secret})
		require.NoError(t, err)
		close(ids)
		var real int
		for id := range ids {
			if id == r.JSON201.UserID {
				real++
			}
		}
		require.Equal(t, 1, real)
	})
}

func TestProfile(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		me, other := f.customer(t), f.customer(t)
		a := f.do(t, http.MethodGet, "/api/v1/me", me.token, "")
		require.Equal(t, http.StatusOK, a.status)
		require.Equal(t, me.ID.String(), a.body["id"])
		require.Equal(t, `"1"`, a.header.Get("ETag"))

		a = f.do(t, http.MethodPatch, "/api/v1/me", me.token, `{"display_name": "Ada King", "email": "king@example.com", "password": "correct horse"}`, "If-Match", `"1"`)
		require.Equal(t, http.StatusOK, a.status, "%v", a.body)
		require.Equal(t, `"2"`, a.header.Get("ETag"))
		require.Equal(t, "Ada King", a.body["display_name"])
		meta, changed := next[*userv1.UserProfileChanged](t, f)
		require.Equal(t, me.ID.String(), meta.Key)
		require.Equal(t, me.Email, changed.GetEmail(), "until the new one is verified")
		require.Equal(t, me.Email, a.body["email"])
		require.Equal(t, "king@example.com", a.body["pending_email"])
		require.EqualValues(t, 2, changed.GetVersion())

		for name, c := range map[string]struct {
			token, body, ifMatch string
			status               int
			code                 string
		}{
			"Anonymous":      {"", `{"display_name": "X"}`, `"2"`, 401, "token_missing"},
			"Forged":         {me.token[:len(me.token)-6] + "AAAAAA", `{"display_name": "X"}`, `"2"`, 401, "token_invalid"},
			"NoIfMatch":      {me.token, `{"display_name": "X"}`, "", 428, "if_match_missing"},
			"BadIfMatch":     {me.token, `{"display_name": "X"}`, `W/"2"`, 400, "if_match_malformed"},
			"Stale":          {me.token, `{"display_name": "X"}`, `"1"`, 412, "stale"},
			"StaleFuture":    {me.token, `{"display_name": "X"}`, `"3"`, 412, "stale"},
			"Nothing":        {me.token, `{}`, `"2"`, 422, "unprocessable"},
			"UnknownField":   {me.token, `{"disabled": false}`, `"2"`, 400, "invalid"},
			"Null":           {me.token, `{"display_name": null}`, `"2"`, 400, "invalid"},
			"NoPassword":     {me.token, `{"email": "` + strings.ToUpper(other.Email) + `"}`, `"2"`, 422, "password_required"},
			"WrongPassword":  {me.token, `{"email": "` + strings.ToUpper(other.Email) + `", "password": "wrong horse"}`, `"2"`, 403, "password_wrong"},
			"MalformedEmail": {me.token, `{"email": "a@b@c"}`, `"2"`, 422, "unprocessable"},
		} {
			t.Run(name, func(t *testing.T) {
				headers := []string{"If-Match", c.ifMatch}
				if c.ifMatch == "" {
					headers = nil
				}
				f.refused(t, f.do(t, http.MethodPatch, "/api/v1/me", c.token, c.body, headers...), c.status, c.code)
			})
		}
		a = f.do(t, http.MethodGet, "/api/v1/me", me.token, "")
		require.Equal(t, "Ada King", a.body["display_name"])
		require.Equal(t, `"2"`, a.header.Get("ETag"))
	})
}

func TestGetUser(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		me, other, root := f.customer(t), f.customer(t), f.admin(t)
		path := func(id string) string { return "/api/v1/users/" + id }
		require.Equal(t, http.StatusOK, f.do(t, http.MethodGet, path(me.ID.String()), me.token, "").status)
		require.Equal(t, http.StatusOK, f.do(t, http.MethodGet, path(me.ID.String()), root.token, "").status)
		f.refused(t, f.do(t, http.MethodGet, path(other.ID.String()), me.token, ""), http.StatusForbidden, "not_owner")
		f.refused(t, f.do(t, http.MethodGet, path(uuid.NewString()), me.token, ""), http.StatusForbidden, "not_owner")
		f.refused(t, f.do(t, http.MethodGet, path(uuid.NewString()), root.token, ""), http.StatusNotFound, "user_not_found")
		f.refused(t, f.do(t, http.MethodGet, path(me.ID.String()), "", ""), http.StatusUnauthorized, "token_missing")
		require.Equal(t, http.StatusBadRequest, f.do(t, http.MethodGet, path("nonsense"), root.token, "").status)
	})
}

func TestListUsers(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		root := f.admin(t)
		want := []string{root.ID.String()}
		var last person
		for range 6 {
			last = f.customer(t)
			want = append([]string{last.ID.String()}, want...)
		}
		var got []string
		query := "?limit=2"
		for pages := 1; ; pages++ {
			a := f.do(t, http.MethodGet, "/api/v1/users"+query, root.token, "")
			require.Equal(t, http.StatusOK, a.status, "%v", a.body)
			for _, item := range a.body["items"].([]any) {
				got = append(got, item.(map[string]any)["id"].(string))
			}
			cursor, more := a.body["next_cursor"].(string)
			if !more {
				require.Equal(t, 4, pages)
				break
			}
			query = "?limit=2&cursor=" + cursor
		}
		require.Equal(t, want, got)

		a := f.do(t, http.MethodGet, "/api/v1/users?q="+strings.ToUpper(last.Email), root.token, "")
		require.Len(t, a.body["items"], 1)
		require.Empty(t, f.do(t, http.MethodGet, "/api/v1/users?disabled=true", root.token, "").body["items"])
		for name, query := range map[string]string{
			"ForeignCursor": query + "&q=ada", "AlteredCursor": query + "AAAA", "BadLimit": "?limit=101", "ZeroLimit": "?limit=0",
			"UnknownParameter": "?size=3", "NotABoolean": "?disabled=1", "NUL": "?q=%00",
		} {
			t.Run(name, func(t *testing.T) {
				require.Equal(t, http.StatusBadRequest, f.do(t, http.MethodGet, "/api/v1/users"+query, root.token, "").status)
			})
		}
		f.refused(t, f.do(t, http.MethodGet, "/api/v1/users", last.token, ""), http.StatusForbidden, "permission_denied")
		f.refused(t, f.do(t, http.MethodGet, "/api/v1/users", "", ""), http.StatusUnauthorized, "token_missing")
	})
}

func TestDisableUser(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		me, root := f.customer(t), f.admin(t)
		disable, enable := "/api/v1/users/"+me.ID.String()+"/disable", "/api/v1/users/"+me.ID.String()+"/enable"
		f.refused(t, f.do(t, http.MethodPost, disable, me.token, ""), http.StatusForbidden, "permission_denied")
		f.refused(t, f.do(t, http.MethodPost, disable, "", ""), http.StatusUnauthorized, "token_missing")

		a := f.do(t, http.MethodPost, disable, root.token, "", "Idempotency-Key", "k")
		require.Equal(t, http.StatusOK, a.status, "%v", a.body)
		require.Equal(t, true, a.body["disabled"])
		require.Equal(t, a.body, f.do(t, http.MethodPost, disable, root.token, "", "Idempotency-Key", "k").body)
		require.Equal(t, a.body, f.do(t, http.MethodPost, disable, root.token, "").body)
		meta, e := next[*userv1.UserDisabled](t, f)
		require.Equal(t, me.ID.String(), e.GetUserId())
		require.Equal(t, me.ID.String(), meta.Key)
		f.refused(t, f.do(t, http.MethodPost, "/api/v1/sessions", "", `{"email": "`+me.Email+`", "password": "correct horse"}`), http.StatusForbidden, "user_disabled")
		f.refused(t, f.do(t, http.MethodPost, "/api/v1/sessions", "", `{"email": "`+me.Email+`", "password": "wrong horse"}`), http.StatusUnauthorized, "credentials_invalid")
		f.refused(t, f.do(t, http.MethodPost, "/api/v1/sessions/refresh", "", `{"refresh_token": "`+me.refresh+`"}`), http.StatusUnauthorized, "refresh_token_invalid")

		a = f.do(t, http.MethodPost, enable, root.token, "")
		require.Equal(t, http.StatusOK, a.status)
		require.Equal(t, `"3"`, a.header.Get("ETag"))
		_, enabled := next[*userv1.UserEnabled](t, f)
		require.Equal(t, me.ID.String(), enabled.GetUserId())
		f.login(t, me.User)

		f.refused(t, f.do(t, http.MethodPost, "/api/v1/users/"+root.ID.String()+"/disable", root.token, ""), http.StatusConflict, "own_account")
		f.refused(t, f.do(t, http.MethodPost, "/api/v1/users/"+uuid.NewString()+"/disable", root.token, ""), http.StatusNotFound, "user_not_found")
		f.refused(t, f.do(t, http.MethodPost, "/api/v1/users/"+uuid.NewString()+"/enable", root.token, ""), http.StatusNotFound, "user_not_found")
	})
}
