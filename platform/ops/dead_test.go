package ops_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/audit"
	opsrest "cleave/platform/ops/v1/rest"
)

func TestDeadLetters_RetryTakesEffectOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		letter := w.dead(t, "hello")[0]
		admin := w.as(t, "admin")
		path := "dead-letters/" + letter.Subscriber + "/" + letter.ID
		shown := ok[opsrest.DeadLetterDetail](t, admin.send(t, "GET", path, nil))
		require.Equal(t, "shop.note", shown.Subscriber)
		require.Contains(t, shown.Cause, "this does not work yet")
		require.Equal(t, `"hello"`, *shown.PayloadJSON)
		require.NotEmpty(t, shown.Payload)

		w.mended.Store(true)
		key := []string{"Idempotency-Key", "once"}
		for i := range 3 {
			r := admin.send(t, "POST", path+"/retry", nil, key...)
			require.Equal(t, opsrest.Outcome{Count: 1}, ok[opsrest.Outcome](t, r))
			require.Equal(t, i > 0, r.replayed)
		}
		require.Eventually(t, func() bool { return len(w.effects(t)) > 0 }, 20*time.Second, 10*time.Millisecond)
		refused(t, admin.send(t, "POST", path+"/retry", nil), http.StatusNotFound, "dead_letter_unknown")
		lag := ok[opsrest.Lag](t, admin.send(t, "GET", "lag", nil))
		require.Zero(t, lag.Subscribers[0].Pending+lag.Subscribers[0].Dead)
		require.Equal(t, []string{"hello"}, w.effects(t))

		entries, err := w.env.Audit.List(t.Context(), audit.Filter{})
		require.NoError(t, err)
		require.Len(t, entries, 1, "the replays did nothing")
		e := entries[0]
		require.Equal(t, "ops:dead_letter:retry", e.Action)
		require.Equal(t, "dead-letter/shop.note/"+letter.ID, e.Object)
		require.Equal(t, "somebody", e.Actor.Subject)
		require.Equal(t, "127.0.0.1", e.Address)
		require.NotEmpty(t, e.RequestID)
	})
}

func TestDeadLetters_Bulk(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		letters := w.dead(t, "a", "b", "c", "d", "e")
		admin := w.as(t, "admin")
		discard := func(body object) opsrest.Outcome {
			t.Helper()
			return ok[opsrest.Outcome](t, admin.send(t, "POST", "dead-letters/discard", body))
		}
		refused(t, admin.send(t, "POST", "dead-letters/discard", object{}), http.StatusUnprocessableEntity, "filter_missing")
		refused(t, admin.send(t, "POST", "dead-letters/discard", object{"dry_run": true, "limit": 1}), http.StatusUnprocessableEntity, "filter_missing")
		require.Equal(t, opsrest.Outcome{Count: 5, DryRun: true}, discard(object{"all": true, "dry_run": true}))
		require.Equal(t, opsrest.Outcome{Count: 2, DryRun: true}, discard(object{"all": true, "dry_run": true, "limit": 2}))
		require.Equal(t, opsrest.Outcome{Count: 0}, discard(object{"key": "key-x"}))
		require.Equal(t, opsrest.Outcome{Count: 1}, discard(object{"subscriber": "shop.note", "key": "key-a"}))
		require.Equal(t, opsrest.Outcome{Count: 1}, discard(object{"ids": []string{letters[1].ID, letters[0].ID}}))
		require.Equal(t, opsrest.Outcome{Count: 0}, discard(object{"until": letters[0].DeadAt}))
		w.mended.Store(true)
		o := ok[opsrest.Outcome](t, admin.send(t, "POST", "dead-letters/retry", object{"type": "google.protobuf.StringValue", "limit": 2}))
		require.EqualValues(t, 2, o.Count)
		require.Eventually(t, func() bool { return len(w.effects(t)) == 2 }, 20*time.Second, 10*time.Millisecond)
		require.Equal(t, []string{"c", "d"}, w.effects(t), "the longest dead first")

		entries, err := w.env.Audit.List(t.Context(), audit.Filter{})
		require.NoError(t, err)
		require.Len(t, entries, 3, "neither dry runs nor what found nothing")
		require.Equal(t, map[string]string{"type": "google.protobuf.StringValue", "limit": "2", "count": "2"}, entries[0].Detail)
	})
}

func TestDeadLetters_Pages(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		letters := w.dead(t, "a", "b", "c", "d", "e")
		admin := w.as(t, "admin")
		var ids []string
		query := "dead-letters?limit=2"
		for {
			page := ok[opsrest.DeadLetterList](t, admin.send(t, "GET", query, nil))
			for _, l := range page.Items {
				ids = append(ids, l.ID)
			}
			if page.NextCursor == nil {
				break
			}
			refused(t, admin.send(t, "GET", "dead-letters?key=other&cursor="+*page.NextCursor, nil), http.StatusBadRequest, "cursor_invalid")
			refused(t, admin.send(t, "GET", "sagas?cursor="+*page.NextCursor, nil), http.StatusBadRequest, "cursor_invalid")
			query = "dead-letters?limit=2&cursor=" + *page.NextCursor
		}
		for i, l := range letters {
			require.Equal(t, l.ID, ids[i])
		}
		require.Len(t, ids, len(letters))
		since := url.QueryEscape(letters[2].DeadAt.Format(time.RFC3339Nano))
		require.Len(t, ok[opsrest.DeadLetterList](t, admin.send(t, "GET", "dead-letters?since="+since, nil)).Items, 3)
		require.Len(t, ok[opsrest.DeadLetterList](t, admin.send(t, "GET", "dead-letters?until="+since, nil)).Items, 2)
		require.Len(t, ok[opsrest.DeadLetterList](t, admin.send(t, "GET", "dead-letters?subscriber=shop.note&key=key-b", nil)).Items, 1)

		topics := ok[opsrest.TopicList](t, admin.send(t, "GET", "topics", nil))
		require.Equal(t, "google.protobuf.StringValue", topics.Items[0].Type)
		require.Equal(t, "shop.note", topics.Items[0].Subscribers[0].Name)
	})
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		w.dead(t, "a")
		w.failed(t, "t1")
		admin := w.as(t, "admin")
		long := fmt.Sprintf("%0256d", 1)
		for name, c := range map[string]struct {
			method, path string
			body         any
			status       int
			code         string
		}{
			"UnknownModule":         {"GET", "/api/v1/admin/modules/shoe/lag", nil, 404, "module_unknown"},
			"UnknownModuleWrite":    {"POST", "/api/v1/admin/modules/shoe/dead-letters/retry", object{"all": true}, 404, "module_unknown"},
			"MalformedModule":       {"GET", "/api/v1/admin/modules/Shop/lag", nil, 400, "invalid"},
			"UnknownSubscriber":     {"GET", "dead-letters?subscriber=shop.note2", nil, 404, "subscriber_unknown"},
			"UnknownSubscriberBulk": {"POST", "dead-letters/retry", object{"subscriber": "x"}, 404, "subscriber_unknown"},
			"UnknownSubscriberOne":  {"POST", "dead-letters/x/y/discard", nil, 404, "subscriber_unknown"},
			"UnknownLetter":         {"GET", "dead-letters/shop.note/y", nil, 404, "dead_letter_unknown"},
			"UnknownLetterRetry":    {"POST", "dead-letters/outbox/y/retry", nil, 404, "dead_letter_unknown"},
			"LongID":                {"GET", "dead-letters/shop.note/" + long, nil, 400, "invalid"},
			"ControlCharacter":      {"GET", "dead-letters/shop.note/a%0Ab", nil, 400, "invalid"},
			"Nul":                   {"GET", "dead-letters?key=a%00b", nil, 400, "invalid"},
			"Limit":                 {"GET", "dead-letters?limit=101", nil, 400, "invalid"},
			"BulkLimit":             {"POST", "dead-letters/retry", object{"all": true, "limit": 1001}, 422, "invalid"},
			"BulkLimitZero":         {"POST", "dead-letters/retry", object{"all": true, "limit": 0}, 422, "invalid"},
			"Time":                  {"GET", "dead-letters?since=yesterday", nil, 400, "invalid"},
			"UnknownField":          {"POST", "dead-letters/retry", object{"all": true, "everything": true}, 400, "invalid"},
			"UnknownParameter":      {"GET", "lag?all=true", nil, 400, "invalid"},
			"NoBody":                {"POST", "dead-letters/retry", nil, 400, "invalid"},
			"NoIDs":                 {"POST", "dead-letters/retry", object{"ids": []string{}}, 422, "invalid"},
			"SagaState":             {"GET", "sagas?state=stuck", nil, 400, "invalid"},
			"UnknownSaga":           {"GET", "sagas/trip/t2", nil, 404, "saga_not_found"},
			"UnknownSagaRetry":      {"POST", "sagas/trap/t1/retry", nil, 404, "saga_not_found"},
			"SagasUnselected":       {"POST", "sagas/retry", object{}, 422, "filter_missing"},
			"CompensateTwice":       {"POST", "sagas/trip/t1/compensate", nil, 409, "saga_state"},
			"Head":                  {"GET", "audit/verification?head=12", nil, 400, "invalid"},
			"Cursor":                {"GET", "audit?cursor=AAAA", nil, 400, "cursor_invalid"},
		} {
			t.Run(name, func(t *testing.T) {
				r := admin.send(t, c.method, c.path, c.body)
				require.Equal(t, c.status, r.status, "%s", r.body)
				if c.code != "invalid" {
					refused(t, r, c.status, c.code)
				}
			})
		}
		r, err := w.env.Audit.Verify(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, r.Entries, "nothing was done, so nothing is told")
	})
}
