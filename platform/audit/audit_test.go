package audit_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/audit"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 123456000, time.UTC)

func setup(t *testing.T, c db.Config) (*db.DB, *audit.Log) {
	t.Helper()
	d := dbtest.Open(t, c, "shop", nil, nil)
	return d, audit.New(d, "https://issuer.example", func() time.Time { return noon })
}

func appendEntry(ctx context.Context, d *db.DB, l *audit.Log, e audit.Entry) error {
	return d.Tx(ctx, func(ctx context.Context) error { return l.Append(ctx, e) })
}

func entry(i int) audit.Entry {
	return audit.Entry{Actor: audit.Actor{Issuer: "cli", Subject: "root"}, Action: "shop:close", Object: fmt.Sprint("shop/", i)}
}

func fill(t *testing.T, d *db.DB, l *audit.Log, n int) audit.Head {
	t.Helper()
	for i := range n {
		require.NoError(t, appendEntry(t.Context(), d, l, entry(i+1)))
	}
	r := verify(t, l, nil)
	require.Empty(t, r.Broken)
	require.EqualValues(t, n, r.Entries)
	return r.Head
}

func verify(t *testing.T, l *audit.Log, anchor *audit.Head) audit.Report {
	t.Helper()
	r, err := l.Verify(t.Context(), anchor)
	require.NoError(t, err)
	return r
}

func TestAppend(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		d, l := setup(t, c)
		ctx := telemetry.WithRequest(t.Context(), "request-1", "192.0.2.7:4711")
		ctx = telemetry.FromTraceparent(ctx, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		ctx = auth.With(ctx, auth.Principal{Subject: "anna"})
		e := audit.Entry{Action: "shop:close", Object: "shop/1", Detail: map[string]string{"why": "stocktaking", "amount": "3"}}
		require.NoError(t, appendEntry(ctx, d, l, e))

		all, err := l.List(ctx, audit.Filter{})
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Len(t, all[0].Hash, sha256.Size)
		all[0].Hash = nil
		require.Equal(t, audit.Entry{
			Seq: 1, At: noon, Actor: audit.Actor{Issuer: "https://issuer.example", Subject: "anna"}, Action: "shop:close", Object: "shop/1",
			Address: "192.0.2.7", RequestID: "request-1", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Detail: e.Detail,
		}, all[0])
	})
}

// TestAppend_OutsideIssuer names the person as their issuer does: the subject alone is a hash.
func TestAppend_OutsideIssuer(t *testing.T) {
	t.Parallel()
	d, l := setup(t, dbtest.SQLite(t))
	e := audit.Entry{Action: "shop:close", Object: "shop/1", Detail: map[string]string{"why": "stocktaking"}}
	ctx := auth.With(t.Context(), auth.Principal{Issuer: "https://other.example", Subject: "5", IssuerSubject: "ada"})
	require.NoError(t, appendEntry(ctx, d, l, e))
	require.NoError(t, appendEntry(ctx, d, l, audit.Entry{Action: "shop:open", Object: "shop/1"}))

	all, err := l.List(ctx, audit.Filter{})
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, audit.Actor{Issuer: "https://other.example", Subject: "5"}, all[0].Actor)
	require.ElementsMatch(t, []map[string]string{{"issuer_subject": "ada"}, {"why": "stocktaking", "issuer_subject": "ada"}},
		[]map[string]string{all[0].Detail, all[1].Detail})
	require.Len(t, e.Detail, 1, "the caller's map is the caller's")
}

func TestAppend_Refused(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		d, l := setup(t, c)
		t.Run("OutsideATransaction", func(t *testing.T) {
			require.ErrorContains(t, l.Append(t.Context(), entry(1)), "transaction")
		})
		t.Run("WithoutAnActor", func(t *testing.T) {
			require.Equal(t, "audit_actor_missing", fault.CodeOf(appendEntry(t.Context(), d, l, audit.Entry{Action: "shop:close"})))
		})
		t.Run("TooManyDetails", func(t *testing.T) {
			e := entry(1)
			e.Detail = map[string]string{}
			for i := range 17 {
				e.Detail[fmt.Sprint(i)] = ""
			}
			require.Equal(t, "audit_detail", fault.CodeOf(appendEntry(t.Context(), d, l, e)))
		})
		t.Run("RolledBack", func(t *testing.T) {
			oops := errors.New("oops")
			require.ErrorIs(t, d.Tx(t.Context(), func(ctx context.Context) error {
				require.NoError(t, l.Append(ctx, entry(1)))
				return oops
			}), oops)
		})
		require.Zero(t, verify(t, l, nil).Entries, "nothing of it was written")
		fill(t, d, l, 2)
	})
}

func TestAppend_TextCannotForgeLines(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		d, l := setup(t, c)
		e := entry(1)
		e.Object = "a\nb\x00c\u202ed\u2028e\xfff\\g Ü"
		e.Address = "::1\r\n"
		e.Detail = map[string]string{"note": "x\ty" + strings.Repeat("ü", 400)}
		require.NoError(t, appendEntry(t.Context(), d, l, e))
		e.Object = strings.Repeat("o", 600)
		require.NoError(t, appendEntry(t.Context(), d, l, e))
		all, err := l.List(t.Context(), audit.Filter{})
		require.NoError(t, err)
		require.Equal(t, `a\u{a}b\u{0}c\u{202e}d\u{2028}e\xfff\\g Ü`, all[1].Object)
		require.Equal(t, `::1\u{d}\u{a}`, all[1].Address)
		require.LessOrEqual(t, len(all[1].Detail["note"]), 512)
		require.Contains(t, all[1].Detail["note"], `x\u{9}yü`)
		require.Len(t, all[0].Object, 512)
		require.Empty(t, verify(t, l, nil).Broken)
	})
}

func TestAppend_ConcurrentlyMakesOneChain(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		const writers, each = 8, 15
		d, l := setup(t, c)
		var wg sync.WaitGroup
		errs := make(chan error, writers*each)
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					errs <- d.Tx(t.Context(), func(ctx context.Context) error {
						if err := l.Append(ctx, entry(w*100+i)); err != nil {
							return err
						}
						return l.Append(ctx, entry(w*100+i)) // two in one transaction follow each other too
					})
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		r := verify(t, l, nil)
		require.Empty(t, r.Broken)
		require.EqualValues(t, 2*writers*each, r.Entries)
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		d, l := setup(t, c)
		fill(t, d, l, 5)
		e := entry(6)
		e.Action, e.Actor.Subject = "shop:open", "berta"
		require.NoError(t, appendEntry(t.Context(), d, l, e))
		for name, c := range map[string]struct {
			filter audit.Filter
			want   []int64
		}{
			"All":     {audit.Filter{}, []int64{6, 5, 4, 3, 2, 1}},
			"Limit":   {audit.Filter{Limit: 2}, []int64{6, 5}},
			"Before":  {audit.Filter{Before: 3}, []int64{2, 1}},
			"Action":  {audit.Filter{Action: "shop:open"}, []int64{6}},
			"Subject": {audit.Filter{Subject: "berta"}, []int64{6}},
			"Object":  {audit.Filter{Object: "shop/2"}, []int64{2}},
			"Since":   {audit.Filter{Since: noon.Add(time.Second)}, []int64{}},
			"Until":   {audit.Filter{Until: noon}, []int64{}},
		} {
			t.Run(name, func(t *testing.T) {
				all, err := l.List(t.Context(), c.filter)
				require.NoError(t, err)
				got := []int64{}
				for _, e := range all {
					got = append(got, e.Seq)
				}
				require.Equal(t, c.want, got)
			})
		}
	})
}
