package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverQueue is github.com/riverqueue/river, without gorm between it and pgx.
type riverQueue struct {
	pool   *pgxpool.Pool
	poll   time.Duration
	insert *river.Client[pgx.Tx]
	work   *river.Client[pgx.Tx]
}

func newRiver(ctx context.Context, pool *pgxpool.Pool, poll time.Duration) (*riverQueue, error) {
	driver := riverpgxv5.New(pool)
	m, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, err
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	insert, err := river.NewClient(driver, &river.Config{Logger: slog.New(slog.DiscardHandler)})
	return &riverQueue{pool: pool, poll: poll, insert: insert}, err
}

type args struct {
	Event int64 `json:"event"`
}

func (args) Kind() string { return "event" }

func (r *riverQueue) publish(ctx context.Context, id int64) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO works (id, at) VALUES ($1, $2)", id, time.Now()); err != nil {
			return err
		}
		_, err := r.insert.InsertTx(ctx, tx, args{Event: id}, nil)
		return err
	})
}

func (r *riverQueue) handle(ctx context.Context, done func(id int64)) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{pool: r.pool, done: done})
	var err error
	r.work, err = river.NewClient(riverpgxv5.New(r.pool), &river.Config{
		Logger: slog.New(slog.DiscardHandler), Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 50}}, Workers: workers,
		FetchCooldown: r.poll, FetchPollInterval: max(r.poll, 100*time.Millisecond),
	})
	if err != nil {
		return err
	}
	return r.work.Start(ctx)
}

func (r *riverQueue) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if r.work != nil {
		_ = r.work.Stop(ctx)
	}
	r.pool.Close()
}

// worker writes the effect and completes the job in one transaction.
type worker struct {
	river.WorkerDefaults[args]
	pool *pgxpool.Pool
	done func(id int64)
}

func (w *worker) Work(ctx context.Context, job *river.Job[args]) error {
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO effects (id, at) VALUES ($1, $2) ON CONFLICT DO NOTHING", job.Args.Event, time.Now()); err != nil {
			return err
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
	if err == nil {
		w.done(job.Args.Event)
	}
	return err
}
