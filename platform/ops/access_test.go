package ops_test

import (
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"cleave/platform/audit"
	opsv1 "cleave/platform/ops/v1"
	opsrest "cleave/platform/ops/v1/rest"
	"cleave/platform/saga"
)

// Every operation of the document refuses everybody but administrators, before it looks at anything else.
func TestAccess(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		letter := w.dead(t, "a")[0]
		w.failed(t, "t1")
		doc, err := openapi3.NewLoader().LoadFromData(opsv1.OpenAPI)
		require.NoError(t, err)
		fill := strings.NewReplacer("{module}", "shop", "{subscriber}", letter.Subscriber, "{event_id}", letter.ID, "{saga}", "trip", "{saga_id}", "t1")
		callers := map[string]struct {
			caller
			status int
			code   string
		}{
			"Anonymous":   {w.as(t), 401, "token_missing"},
			"Customer":    {w.as(t, "customer"), 403, "permission_denied"},
			"Support":     {w.as(t, "support"), 403, "permission_denied"},
			"UnknownRole": {w.as(t, "root"), 403, "permission_denied"},
		}
		n := 0
		for path, item := range doc.Paths.Map() {
			for method, op := range item.Operations() {
				if op.Extensions["x-owner"] == "self" { // which is everyone's
					continue
				}
				n++
				var body any
				if op.RequestBody != nil {
					body = object{"all": true}
				}
				for name, c := range callers {
					t.Run(op.OperationID+"/"+name, func(t *testing.T) {
						refused(t, c.send(t, method, fill.Replace(path), body), c.status, c.code)
					})
				}
			}
		}
		require.Equal(t, 24, n)
		require.Equal(t, letter.ID, w.dead(t)[0].ID, "it is still there")
		w.state(t, "t1", saga.CompensationFailed)
		for method, paths := range map[string][]string{
			"GET":  {"topics", "lag", "dead-letters", "sagas", "audit", "audit/verification", "sagas/trip/t1", "dead-letters/" + letter.Subscriber + "/" + letter.ID},
			"POST": {"sagas/trip/t1/retry"},
		} {
			for _, path := range paths {
				r := w.as(t, "admin").send(t, method, path, nil)
				require.Equal(t, 200, r.status, "%s %s", path, r.body)
			}
		}
	})
}

func TestSagas_Repair(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		w.failed(t, "t1")
		w.failed(t, "t2")
		w.failed(t, "t3")
		admin := w.as(t, "admin")
		shown := ok[opsrest.SagaDetail](t, admin.send(t, "GET", "sagas/trip/t1", nil))
		require.Equal(t, opsrest.SagaStateCompensationFailed, shown.State)
		require.Equal(t, []string{"book", "pay"}, shown.Plan)
		require.Contains(t, *shown.Cause, "no money")
		require.JSONEq(t, `{"ID":"t1"}`, shown.Data)
		require.NotEmpty(t, shown.History)
		page := ok[opsrest.SagaList](t, admin.send(t, "GET", "sagas?limit=2&state=compensation_failed", nil))
		require.Len(t, page.Items, 2)
		page = ok[opsrest.SagaList](t, admin.send(t, "GET", "sagas?limit=2&state=compensation_failed&cursor="+*page.NextCursor, nil))
		require.Len(t, page.Items, 1)
		require.Nil(t, page.NextCursor)

		w.mended.Store(true)
		require.EqualValues(t, 1, ok[opsrest.Outcome](t, admin.send(t, "POST", "sagas/trip/t1/retry", nil)).Count)
		w.state(t, "t1", saga.Compensated)
		refused(t, admin.send(t, "POST", "sagas/trip/t1/retry", nil), 409, "saga_state")
		all := object{"name": "trip", "state": "compensation_failed", "dry_run": true}
		require.Equal(t, opsrest.Outcome{Count: 2, DryRun: true}, ok[opsrest.Outcome](t, admin.send(t, "POST", "sagas/retry", all)))
		w.state(t, "t2", saga.CompensationFailed)
		delete(all, "dry_run")
		require.Equal(t, opsrest.Outcome{Count: 2}, ok[opsrest.Outcome](t, admin.send(t, "POST", "sagas/retry", all)))
		w.state(t, "t2", saga.Compensated)
		w.state(t, "t3", saga.Compensated)
	})
}

func TestAudit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		letters := w.dead(t, "a", "b", "c")
		admin := w.as(t, "admin")
		for _, l := range letters {
			ok[opsrest.Outcome](t, admin.send(t, "POST", "dead-letters/"+l.Subscriber+"/"+l.ID+"/discard", nil))
		}
		page := ok[opsrest.AuditEntryList](t, admin.send(t, "GET", "audit?limit=2&action=ops:dead_letter:discard&actor=somebody", nil))
		require.Len(t, page.Items, 2)
		require.EqualValues(t, 3, page.Items[0].Seq)
		page = ok[opsrest.AuditEntryList](t, admin.send(t, "GET", "audit?limit=2&action=ops:dead_letter:discard&actor=somebody&cursor="+*page.NextCursor, nil))
		require.Len(t, page.Items, 1)
		v := ok[opsrest.Verification](t, admin.send(t, "GET", "audit/verification", nil))
		require.True(t, v.Intact)
		require.EqualValues(t, 3, v.Entries)
		head, err := audit.ParseHead(v.Head)
		require.NoError(t, err)
		require.True(t, ok[opsrest.Verification](t, admin.send(t, "GET", "audit/verification?head="+v.Head, nil)).Intact)
		head.Seq = 2
		v = ok[opsrest.Verification](t, admin.send(t, "GET", "audit/verification?head="+head.String(), nil))
		require.False(t, v.Intact)
		require.Contains(t, *v.Broken, "the log was rewritten")
	})
}
