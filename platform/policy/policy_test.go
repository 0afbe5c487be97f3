package policy_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/audit"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/policy"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const file = "p, customer, order:read, own\np, admin, order:read, any\np, admin, order:ship, any\ng, admin, customer"

// replica is a process with the module order.
type replica struct {
	*policy.Store
	decides *auth.Policy
}

var ids atomic.Int64

func newReplica(t *testing.T, d *db.DB, file string) *replica {
	t.Helper()
	decides, err := auth.NewPolicy(map[string]string{"order": file})
	require.NoError(t, err)
	r := &replica{decides: decides, Store: policy.New(policy.Deps{
		DB: d, Audit: audit.New(d, "issuer", time.Now), Policy: decides, Now: time.Now, NewID: func() string { return "row-" + strconv.FormatInt(ids.Add(1), 10) },
	})}
	require.NoError(t, r.Load(t.Context()))
	return r
}

func (r *replica) may(role, permission string) auth.Decision {
	return r.decides.Decide(auth.Principal{Roles: []string{role}}, permission)
}

func each(t *testing.T, fn func(t *testing.T, ctx context.Context, d *db.DB)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		ctx := auth.With(t.Context(), auth.Principal{Issuer: "issuer", Subject: "root"})
		fn(t, ctx, dbtest.Open(t, c, "order", nil, nil))
	})
}

func actions(t *testing.T, d *db.DB) (out []string) {
	t.Helper()
	entries, err := audit.New(d, "issuer", time.Now).List(t.Context(), audit.Filter{Limit: 100})
	require.NoError(t, err)
	for _, e := range slices.Backward(entries) {
		out = append(out, e.Actor.String()+" "+e.Action+" "+e.Detail["role"]+e.Detail["added"]+" "+e.Detail["permission"]+e.Detail["removed"])
	}
	return out
}

func TestStore_Change(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		r := newReplica(t, d, file)
		require.Equal(t, auth.Deny, r.may("support", "order:read"))
		row, err := r.Add(ctx, "support", "order:read", "any", false)
		require.NoError(t, err)
		require.Equal(t, auth.Any, r.may("support", "order:read"), "at once in the process that changed it")
		denial, err := r.Add(ctx, "admin", "order:ship", "own", true)
		require.NoError(t, err)
		require.Equal(t, auth.Deny, r.may("admin", "order:ship"))
		rows, err := r.List(ctx)
		require.NoError(t, err)
		require.Len(t, rows, 5)
		require.Equal(t, "issuer:root", rows[4].ChangedBy)
		require.Equal(t, policy.Deny, rows[4].Effect)

		_, err = r.Remove(ctx, row.ID)
		require.NoError(t, err)
		require.Equal(t, auth.Deny, r.may("support", "order:read"))
		_, err = r.Remove(ctx, denial.ID)
		require.NoError(t, err)
		require.Equal(t, auth.Any, r.may("admin", "order:ship"))
		require.Equal(t, []string{
			"issuer:root ops:policy:add support order:read", "issuer:root ops:policy:add admin order:ship",
			"issuer:root ops:policy:remove support order:read", "issuer:root ops:policy:remove admin order:ship",
		}, actions(t, d))
	})
}

func TestStore_Refused(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		r := newReplica(t, d, file)
		_, err := r.Add(ctx, "customer", "order:ship", "any", false)
		require.NoError(t, err)
		before, err := r.List(ctx)
		require.NoError(t, err)
		for name, c := range map[string]struct{ role, permission, scope, code string }{
			"Role":          {"Support Team", "order:read", "any", "role_invalid"},
			"LongRole":      {strings.Repeat("a", 64), "order:read", "any", "role_invalid"},
			"Unknown":       {"support", "order:fly", "any", "permission_unknown"},
			"OtherModule":   {"support", "user:read", "any", "rule_invalid"},
			"Platform":      {"admin", "ops:policy:write", "own", "rule_invalid"},
			"Scope":         {"support", "order:read", "all", "rule_invalid"},
			"AlreadyThere":  {"customer", "order:ship", "any", "rule_exists"},
			"NulInRole":     {"a\x00b", "order:read", "any", "role_invalid"},
			"CommaInRole":   {"admin,customer", "order:read", "any", "role_invalid"},
			"PermissionNil": {"support", "", "any", "rule_invalid"},
		} {
			_, err := r.Add(ctx, c.role, c.permission, c.scope, false)
			require.Equal(t, c.code, fault.CodeOf(err), name)
		}
		for _, id := range []string{"", "row-0", "file-1", before[0].ID} {
			_, err := r.Remove(ctx, id)
			require.Equal(t, "rule_not_found", fault.CodeOf(err), id)
		}
		_, err = r.Add(t.Context(), "support", "order:read", "any", false)
		require.Equal(t, fault.Internal, fault.KindOf(err), "nobody changes nothing")
		after, err := r.List(ctx)
		require.NoError(t, err)
		require.Equal(t, before, after)
		require.Len(t, actions(t, d), 1)
		require.Equal(t, auth.Deny, r.may("support", "order:read"))
	})
}

func TestStore_NewBinary(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		old := newReplica(t, d, file)
		_, err := old.Add(ctx, "support", "order:read", "any", false)
		require.NoError(t, err)
		_, err = old.Add(ctx, "support", "order:ship", "any", false)
		require.NoError(t, err)

		renamed := newReplica(t, d, strings.ReplaceAll(file, "order:ship", "order:send"))
		require.Equal(t, auth.Any, renamed.may("admin", "order:send"))
		require.Equal(t, auth.Any, renamed.may("support", "order:read"), "rows of run time stay")
		require.Equal(t, auth.Deny, renamed.may("support", "order:ship"), "a permission that the new binary does not have")
		require.NoError(t, old.Sync(ctx))
		require.Equal(t, auth.Any, old.may("admin", "order:ship"), "the older replica goes on by its own file")
		require.Equal(t, auth.Any, old.may("support", "order:ship"))
		require.Contains(t, actions(t, d), "system:start ops:policy:load 1 1")

		n := len(actions(t, d))
		newReplica(t, d, strings.ReplaceAll(file, "order:ship", "order:send"))
		require.Len(t, actions(t, d), n, "the same file changes nothing")
	})
}

func TestStore_Replicas(t *testing.T) {
	each(t, func(t *testing.T, ctx context.Context, d *db.DB) {
		a, b := newReplica(t, d, file), newReplica(t, d, file)
		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- b.Run(running) }()
		var took []time.Duration
		for range 10 {
			row, err := a.Add(ctx, "support", "order:read", "any", false)
			require.NoError(t, err)
			began := time.Now()
			require.Eventually(t, func() bool { return b.may("support", "order:read") == auth.Any }, 10*time.Second, time.Millisecond)
			took = append(took, time.Since(began))
			_, err = a.Remove(ctx, row.ID)
			require.NoError(t, err)
			began = time.Now()
			require.Eventually(t, func() bool { return b.may("support", "order:read") == auth.Deny }, 10*time.Second, time.Millisecond)
			took = append(took, time.Since(began))
		}
		stop()
		require.NoError(t, <-done)
		slices.Sort(took)
		t.Logf("change → in force in another replica: p50 %s, max of %d %s", took[len(took)/2], len(took), took[len(took)-1])
	})
}
