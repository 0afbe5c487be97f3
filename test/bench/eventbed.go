package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing/fstest"
	"time"

	"gorm.io/gorm/clause"

	orderv1 "cleave/modules/order/v1"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/module"
)

// work is the row that a publisher's transaction writes beside its event, and
// effect the row that the event's handler writes.
type work struct {
	ID int64 `gorm:"primaryKey;autoIncrement:false"`
	At time.Time
}

type effect struct {
	ID int64 `gorm:"primaryKey;autoIncrement:false"`
	At time.Time
}

// eventTables are the tables of work and effect, in both dialects.
func eventTables() fstest.MapFS {
	const sql = "-- +goose Up\nCREATE TABLE works (id bigint PRIMARY KEY, at timestamp NOT NULL);\nCREATE TABLE effects (id bigint PRIMARY KEY, at timestamp NOT NULL);\n"
	file := &fstest.MapFile{Data: []byte(sql)}
	return fstest.MapFS{"sqlite/00001_work.sql": file, "postgres/00001_work.sql": file}
}

// eventBed publishes events in one module and handles them in another.
type eventBed struct {
	from, to  *db.DB
	bus       *event.Bus
	publisher *event.Publisher
	committed []atomic.Int64 // nanoseconds, by event
	took      []atomic.Int64
	handled   atomic.Int64
	stop      func() error
}

// openEvents makes the two modules in new databases, for up to total events. A
// nil pipe is the one within the process.
func openEvents(b *bed, c db.Config, pipe event.Pipe, total int) (*eventBed, error) {
	tables := eventTables()
	e := &eventBed{
		from: dbtest.Open(b, c, "order", tables, nil), to: dbtest.Open(b, c, "notification", tables, nil),
		committed: make([]atomic.Int64, total), took: make([]atomic.Int64, total), stop: func() error { return nil },
	}
	e.bus = event.NewBus(event.Options{Pipe: pipe, Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: module.NewID})
	e.publisher = e.bus.Publisher("order", e.from, []event.Type{orderv1.Placed})
	return e, e.bus.Subscribe("notification", e.to, []event.Type{orderv1.Placed}, []event.Handler{event.On(orderv1.Placed, "measure", e.handle)})
}

func (e *eventBed) handle(ctx context.Context, _ event.Meta, placed *orderv1.OrderPlaced) error {
	id, err := strconv.ParseInt(placed.GetOrderId(), 10, 64)
	if err != nil {
		return err
	}
	e.to.AfterCommit(ctx, func() {
		e.took[id].Store(time.Now().UnixNano())
		e.handled.Add(1)
	})
	return e.to.Queue(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&effect{ID: id, At: time.Now()}).Error
}

// publish writes a row and an event in one transaction.
func (e *eventBed) publish(ctx context.Context, id int64) error {
	err := e.from.Tx(ctx, func(ctx context.Context) error {
		if err := e.from.Queue(ctx).Create(&work{ID: id, At: time.Now()}).Error; err != nil {
			return err
		}
		key := strconv.FormatInt(id, 10)
		return e.publisher.Publish(ctx, key, &orderv1.OrderPlaced{OrderId: key, Number: "O-6MEMV5Q-K3W8X2T"})
	})
	e.committed[id].Store(time.Now().UnixNano())
	return err
}

// run delivers until stop.
func (e *eventBed) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.bus.Run(ctx) }()
	e.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

// wait returns once n events have had their effect.
func (e *eventBed) wait(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Minute, errors.New("after five minutes"))
	defer cancel()
	for e.handled.Load() < int64(n) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d events had their effect: %w", e.handled.Load(), n, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
