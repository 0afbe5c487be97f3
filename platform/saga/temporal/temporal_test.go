package temporal_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	sdk "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/saga"
	"cleave/platform/saga/sagatest"
	"cleave/platform/saga/temporal"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// The behaviours that all engines share, on Temporal's test environment.
func TestBehaviour(t *testing.T) {
	t.Parallel()
	sagatest.Exercise(t, func(t *testing.T) sagatest.Engine {
		d := dbtest.Open(t, dbtest.SQLite(t), "order", sagatest.Migrations(), nil)
		return sagatest.Engine{DB: d, Run: func(t *testing.T, def saga.Definition[sagatest.Trip], id string, state []byte) sagatest.Outcome {
			return run(t, d, def, id, state)
		}}
	})
}

func run(t *testing.T, d *db.DB, def saga.Definition[sagatest.Trip], id string, state []byte) sagatest.Outcome {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id})
	temporal.Register(env, saga.Compile(def), temporal.InTx(d))
	env.ExecuteWorkflow(def.Name, json.RawMessage(state))
	require.True(t, env.IsWorkflowCompleted())
	var result temporal.Result
	if err := env.GetWorkflowError(); err != nil {
		var failed *sdk.ApplicationError
		require.True(t, errors.As(err, &failed), err)
		require.Equal(t, string(saga.CompensationFailed), failed.Type())
		require.NoError(t, failed.Details(&result))
	} else {
		require.NoError(t, env.GetWorkflowResult(&result))
	}
	value, err := env.QueryWorkflow(temporal.Query)
	require.NoError(t, err)
	var queried temporal.Result
	require.NoError(t, value.Get(&queried))
	require.Equal(t, result, queried)
	out := sagatest.Outcome{State: result.State, Data: result.Data}
	if result.Cause != nil {
		out.Cause = result.Cause.Code
	}
	return out
}

// A local step whose answer is lost after its commit is not done again.
func TestInTx(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		d := dbtest.Open(t, c, "order", sagatest.Migrations(), nil)
		local := temporal.InTx(d)
		calls := 0
		oops := errors.New("oops")
		do := func(id string, fail error) ([]byte, error) {
			return local(t.Context(), temporal.Key{Saga: "trip", ID: id, Step: "do confirm"}, func(ctx context.Context) ([]byte, error) {
				calls++
				require.NoError(t, d.Queue(ctx).Exec("INSERT INTO marks (what) VALUES (?)", id).Error)
				return []byte(`{"n":` + strconv.Itoa(calls) + `}`), fail
			})
		}
		_, err := do("t1", oops)
		require.ErrorIs(t, err, oops)
		for range 2 {
			data, err := do("t1", nil)
			require.NoError(t, err)
			require.JSONEq(t, `{"n":2}`, string(data))
		}
		_, err = do("t2", nil)
		require.NoError(t, err)
		var marks []string
		require.NoError(t, d.Conn(t.Context()).Raw("SELECT what FROM marks ORDER BY n").Scan(&marks).Error)
		require.Equal(t, []string{"t1", "t2"}, marks)
	})
}

// A cancelled workflow is turned round, and what it has done is undone.
func TestCancellation(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.SQLite(t), "order", sagatest.Migrations(), nil)
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	var calls []string
	act := func(what string, err error) func(context.Context, *sagatest.Trip) error {
		return func(context.Context, *sagatest.Trip) error {
			calls = append(calls, what)
			if err != nil {
				env.CancelWorkflow()
			}
			return err
		}
	}
	temporal.Register(env, saga.Compile(saga.Definition[sagatest.Trip]{Name: "trip", Steps: []saga.Step[sagatest.Trip]{
		{Name: "book", Do: act("do book", nil), Undo: act("undo book", nil)},
		{Name: "pay", Do: act("do pay", fault.New(fault.Unavailable, "", "down")), Undo: act("undo pay", nil), Retry: saga.RetryPolicy{Attempts: -1, Min: time.Hour, Max: time.Hour}},
	}}), temporal.InTx(d))
	env.ExecuteWorkflow("trip", json.RawMessage(`{}`))
	var result temporal.Result
	require.NoError(t, env.GetWorkflowResult(&result))
	require.Equal(t, saga.Compensated, result.State)
	require.Equal(t, "saga_canceled", result.Cause.Code)
	require.Equal(t, []string{"do book", "do pay", "undo pay", "undo book"}, calls)
}
