// Package ledgertest checks, for tests, that no money was made or lost.
package ledgertest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
)

// account is the state of one account beside what its ledger and its reservations say it should be.
type account struct {
	UserID                                         string
	Granted, Available, Reserved, Captured         int64
	Grants, Reserves, Captures, Releases           int64 // sums of the ledger's entries
	HeldReservations, SpentReservations            int64 // sums of the reservations' amounts
	ForeignCurrency, Unsettled, SettledWithoutHold int64 // numbers of rows that must not exist
}

const accounts = `SELECT a.user_id, a.granted, a.available, a.reserved, a.captured,
	(SELECT CAST(coalesce(sum(amount), 0) AS bigint) FROM ledger_entries e WHERE e.user_id = a.user_id AND kind = 'grant') AS grants,
	(SELECT CAST(coalesce(sum(amount), 0) AS bigint) FROM ledger_entries e WHERE e.user_id = a.user_id AND kind = 'reserve') AS reserves,
	(SELECT CAST(coalesce(sum(amount), 0) AS bigint) FROM ledger_entries e WHERE e.user_id = a.user_id AND kind = 'capture') AS captures,
	(SELECT CAST(coalesce(sum(amount), 0) AS bigint) FROM ledger_entries e WHERE e.user_id = a.user_id AND kind = 'release') AS releases,
	(SELECT CAST(coalesce(sum(amount), 0) AS bigint) FROM reservations r WHERE r.user_id = a.user_id AND state = 'reserved') AS held_reservations,
	(SELECT CAST(coalesce(sum(amount), 0) AS bigint) FROM reservations r WHERE r.user_id = a.user_id AND state = 'captured') AS spent_reservations,
	(SELECT count(*) FROM ledger_entries e WHERE e.user_id = a.user_id AND e.currency <> a.currency) AS foreign_currency,
	(SELECT count(*) FROM reservations r WHERE r.user_id = a.user_id AND r.state <> 'reserved' AND NOT EXISTS (
		SELECT 1 FROM ledger_entries e WHERE e.reservation_key = r.key AND e.amount = r.amount
		AND e.kind = CASE r.state WHEN 'captured' THEN 'capture' ELSE 'release' END)) AS unsettled,
	(SELECT count(*) FROM reservations r WHERE r.user_id = a.user_id AND NOT EXISTS (
		SELECT 1 FROM ledger_entries e WHERE e.reservation_key = r.key AND e.amount = r.amount AND e.kind = 'reserve')) AS settled_without_hold
	FROM accounts a`

// Check fails the test unless every account is the sum of its ledger: granted = available + reserved + captured, each as
// the entries and the reservations say. One statement reads everything, so it may be called while money moves.
func Check(t testing.TB, d *db.DB) {
	t.Helper()
	var rows []account
	require.NoError(t, d.Conn(context.WithoutCancel(t.Context())).Raw(accounts).Scan(&rows).Error)
	for _, a := range rows {
		require.Equal(t, a.Granted, a.Available+a.Reserved+a.Captured, "account of %s: %+v", a.UserID, a)
		require.Equal(t, a.Grants, a.Granted, "granted of %s: %+v", a.UserID, a)
		require.Equal(t, a.Grants-a.Reserves+a.Releases, a.Available, "available of %s: %+v", a.UserID, a)
		require.Equal(t, a.Reserves-a.Captures-a.Releases, a.Reserved, "reserved of %s: %+v", a.UserID, a)
		require.Equal(t, a.Captures, a.Captured, "captured of %s: %+v", a.UserID, a)
		require.Equal(t, a.HeldReservations, a.Reserved, "reservations of %s: %+v", a.UserID, a)
		require.Equal(t, a.SpentReservations, a.Captured, "captured reservations of %s: %+v", a.UserID, a)
		require.Zero(t, a.ForeignCurrency+a.Unsettled+a.SettledWithoutHold, "rows of %s that must not exist: %+v", a.UserID, a)
	}
}
