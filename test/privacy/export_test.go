package privacy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	noterest "cleave/modules/notification/v1/rest"
	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
	"cleave/platform/config"
	"cleave/platform/db"
	"cleave/platform/moduletest"
)

// platformTables carry or protect what the modules keep, for a time; the audit log and the policies tell of their operators.
var platformTables = []string{
	"outbox", "outbox_dead", "inbox", "event_history", "event_subscribers", "idempotency_keys", "sagas", "saga_owners", "audit", "audit_head",
	"revocations", "policies", "policy_version", "secrets", "rate_limits",
}

// notExported are the columns that tell nothing of a person that they may know, or that is not elsewhere in the export.
var notExported = map[string]string{
	"user.users.email_lower":                      "the address again",
	"user.users.search":                           "the address and the name again",
	"user.users.disabled":                         "whoever is disabled cannot ask",
	"user.users.erased_at":                        "whoever is erased cannot ask",
	"user.users.password_hash":                    "a secret",
	"user.users.email_verified_at":                "shown as yes or no",
	"user.sessions.user_id":                       "the same for all",
	"user.sessions.revoked_at":                    "an ended session",
	"user.sessions.client_id":                     "of OAuth log-ins, which the client shows",
	"user.sessions.scopes":                        "of OAuth log-ins, which the client shows",
	"user.accounts.updated_at":                    "of the sums, whose entries have times",
	"user.reservations.state":                     "the kinds of the ledger entries",
	"user.reservations.created_at":                "the times of the ledger entries",
	"user.reservations.updated_at":                "the times of the ledger entries",
	"user.api_keys.hash":                          "a secret",
	"user.mail_tokens":                            "secrets",
	"user.mail_requests":                          "the address again, for moments",
	"user.second_factors":                         "a secret",
	"user.recovery_codes":                         "secrets",
	"user.log_in_challenges":                      "secrets",
	"user.refresh_tokens":                         "secrets",
	"order.order_lines.position":                  "the order of the list",
	"order.order_lines.order_id":                  "within its order",
	"notification.notifications.seq":              "the order of the list",
	"notification.notifications.user_id":          "the same for all",
	"notification.recipients.contact_version":     "of a copy",
	"notification.recipients.last_seq":            "a counter",
	"notification.mutes.user_id":                  "the same for all",
	"notification.mails":                          "what the notifications say, and the addresses of the profile",
	"notification.recipients.preferences_version": "a counter",
}

// TestExport exports the data of a person, and looks in it for every column of every row that has to do with them. A table or column that
// is new fails the test until it is exported, or is named above with a reason.
func TestExport(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, modules, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		w := setup(t, cfg)
		ctx, root := t.Context(), w.admin(t)
		product, err := w.orders.CreateProductWithResponse(ctx, nil, orderrest.CreateProduct{
			SKU: "LAMP", Name: "Lamp", Price: orderrest.Money{MinorUnits: 100, Currency: "EUR"}, Stock: 200,
		}, root)
		require.NoError(t, err)
		require.NotNil(t, product.JSON201, "%s", product.Body)
		people := map[string]func(*http.Request){}
		for _, name := range []string{"Eleanor", "Stranger"} {
			email := name + "@example.com"
			registered, err := w.users.RegisterUserWithResponse(ctx, nil, userrest.RegisterUser{Email: email, Password: password, DisplayName: name + " Quimby"})
			require.NoError(t, err)
			require.NotNil(t, registered.JSON201, "%s", registered.Body)
			id, as := w.login(t, email)
			topUp, err := w.users.TopUpCreditWithResponse(ctx, id, nil, userrest.TopUpCredit{
				Amount: userrest.Money{MinorUnits: 7777, Currency: "EUR"}, Note: ptr("for " + name),
			}, root)
			require.NoError(t, err)
			require.NotNil(t, topUp.JSON201, "%s", topUp.Body)
			shipped, open := w.buy(t, as, product.JSON201.ID), w.buy(t, as, product.JSON201.ID)
			ship, err := w.orders.ShipOrderWithResponse(ctx, shipped, nil, orderrest.ShipOrder{TrackingCode: ptr("TRACK-" + strings.ToUpper(name))}, root)
			require.NoError(t, err)
			require.NotNil(t, ship.JSON200, "%s", ship.Body)
			w.buy(t, as, product.JSON201.ID) // which is left as it is
			cancelled, err := w.orders.CancelOrderWithResponse(ctx, open, nil, orderrest.CancelOrder{Reason: ptr(name + " has changed her mind")}, as)
			require.NoError(t, err)
			require.NotNil(t, cancelled.JSON200, "%s", cancelled.Body)
			key, err := w.users.CreateAPIKeyWithResponse(ctx, nil, userrest.CreateAPIKey{
				Name: name + "'s report", Scopes: []string{"order:list"}, ExpiresInDays: 30, Password: password,
			}, as)
			require.NoError(t, err)
			require.NotNil(t, key.JSON201, "%s", key.Body)
			_, err = w.users.ExchangeAPIKeyWithResponse(ctx, nil, userrest.ExchangeAPIKey{APIKey: key.JSON201.APIKey})
			require.NoError(t, err)
			muted, err := w.notes.SetNotificationPreferencesWithResponse(ctx, &noterest.SetNotificationPreferencesParams{IfMatch: `"0"`},
				noterest.SetNotificationPreferences{Preferences: []noterest.NotificationPreference{{Kind: "shipped", Channel: "email", Enabled: false}}}, as)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, muted.StatusCode(), "%s", muted.Body)
			inbox := func() []noterest.Notification {
				list, err := w.notes.ListNotificationsWithResponse(ctx, &noterest.ListNotificationsParams{}, as)
				require.NoError(t, err)
				return list.JSON200.Items
			}
			require.Eventually(t, func() bool { return len(inbox()) >= 5 }, soon, often)
			read, err := w.notes.MarkNotificationReadWithResponse(ctx, inbox()[0].ID, nil, as)
			require.NoError(t, err)
			require.Less(t, read.StatusCode(), 300, "%s", read.Body)
			me, err := w.users.GetProfileWithResponse(ctx, as)
			require.NoError(t, err)
			moved, err := w.users.UpdateProfileWithResponse(ctx, &userrest.UpdateProfileParams{IfMatch: me.HTTPResponse.Header.Get("ETag")},
				userrest.UpdateProfile{Email: ptr("moving-" + email), Password: ptr(password)}, as)
			require.NoError(t, err)
			require.NotNil(t, moved.JSON200, "%s", moved.Body)
			people[id.String()] = func(r *http.Request) { require.NoError(t, as(ctx, r)) }
		}
		for id, as := range people {
			text, parts := w.export(t, as)
			for _, p := range parts {
				require.Equal(t, http.StatusOK, p.Status, p.Operation)
			}
			for other := range people {
				require.Equal(t, other == id, strings.Contains(text, other), "of this person alone")
			}
			var noted int64
			require.NoError(t, w.host.DB("user").Conn(ctx).Raw("SELECT count(*) FROM audit WHERE action = 'user:export' AND object = ?", "user/"+id).Scan(&noted).Error)
			require.EqualValues(t, 1, noted)
			seen := map[string]bool{}
			for _, m := range modules {
				checkExport(t, w.host.DB(m.Name), id, text, seen)
			}
			require.Greater(t, len(seen), 40)
			var unseen []string
			for column, shown := range seen {
				if !shown {
					unseen = append(unseen, column)
				}
			}
			require.Empty(t, unseen, "these have no value in any row: give them one in this test")
		}
		t.Run("Anonymous", func(t *testing.T) {
			resp, err := http.Get(w.host.URL() + "/api/v1/me/export")
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		})
	})
}

type exported struct {
	Module, Operation string
	Status            int
	Pages             []json.RawMessage
}

func (w *world) export(t *testing.T, as func(*http.Request)) (string, []exported) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.host.URL()+"/api/v1/me/export", nil)
	require.NoError(t, err)
	as(r)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", text)
	var out struct{ Parts []exported }
	require.NoError(t, json.Unmarshal(text, &out))
	require.NotEmpty(t, out.Parts)
	return string(text), out.Parts
}

// checkExport looks for the rows that name a person, and those that name these, and for their columns in the export. It notes in seen which
// columns had a value.
func checkExport(t *testing.T, d *db.DB, person, export string, seen map[string]bool) {
	t.Helper()
	list := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '%goose%' AND name NOT LIKE '%version%'"
	if d.Dialect() == "postgres" {
		list = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_name NOT LIKE '%goose%'"
	}
	var tables []string
	require.NoError(t, d.Conn(t.Context()).Raw(list).Scan(&tables).Error)
	ids := []string{person}
	for i := 0; i < len(ids); i++ {
		for _, table := range tables {
			if slices.Contains(platformTables, table) || notExported[d.Module()+"."+table] != "" {
				continue
			}
			var rows []map[string]any
			require.NoError(t, d.Conn(t.Context()).Raw(fmt.Sprintf("SELECT * FROM %q", table)).Scan(&rows).Error, table)
			for _, row := range rows {
				if !names(row, ids[i]) {
					continue
				}
				if id, ok := row["id"]; ok && !slices.Contains(ids, fmt.Sprint(id)) {
					ids = append(ids, fmt.Sprint(id))
				}
				for column, value := range row {
					full := d.Module() + "." + table + "." + column
					if notExported[full] != "" {
						continue
					}
					empty := value == nil || value == "" || value == int64(0) || value == false
					seen[full] = seen[full] || !empty
					require.True(t, empty || contains(export, value), "%s = %v is not in the export", full, value)
				}
			}
		}
	}
}

// names reports whether a row is about an id; a reference to a product makes it no part of the product.
func names(row map[string]any, id string) bool {
	for column, value := range row {
		if fmt.Sprint(value) == id && column != "product_id" {
			return true
		}
	}
	return false
}

func contains(export string, value any) bool {
	text := fmt.Sprint(value)
	if n, ok := value.(int64); ok {
		if at := db.FromMicros(n); at.After(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)) {
			return strings.Contains(export, at.UTC().Format("2006-01-02T15:04:05"))
		}
		return regexp.MustCompile(`\b` + text + `\b`).MatchString(export)
	}
	if _, err := uuid.Parse(text); err == nil {
		return strings.Contains(export, text)
	}
	quoted, err := json.Marshal(text)
	return err == nil && strings.Contains(export, strings.Trim(string(quoted), `"`))
}
