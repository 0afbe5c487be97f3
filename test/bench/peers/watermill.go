package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

const topic = "events"

// watermillSQL is github.com/ThreeDotsLabs/watermill-sql in its default schema.
type watermillSQL struct {
	gorm       *gorm.DB
	subscriber *wsql.Subscriber
}

func newWatermill(g *gorm.DB, db *sql.DB, poll time.Duration) (*watermillSQL, error) {
	s, err := wsql.NewSubscriber(db, wsql.SubscriberConfig{
		ConsumerGroup: "peers", PollInterval: poll, SchemaAdapter: wsql.DefaultPostgreSQLSchema{}, OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{},
		InitializeSchema: true,
	}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	return &watermillSQL{gorm: g, subscriber: s}, s.SubscribeInitialize(topic)
}

func (w *watermillSQL) publish(ctx context.Context, id int64) error {
	return w.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&work{ID: id, At: time.Now()}).Error; err != nil {
			return err
		}
		conn, ok := tx.Statement.ConnPool.(*sql.Tx)
		if !ok {
			return errors.New("gorm's transaction is not an *sql.Tx")
		}
		p, err := wsql.NewPublisher(conn, wsql.PublisherConfig{SchemaAdapter: wsql.DefaultPostgreSQLSchema{}}, watermill.NopLogger{})
		if err != nil {
			return err
		}
		return p.Publish(topic, message.NewMessage(watermill.NewUUID(), []byte(strconv.FormatInt(id, 10))))
	})
}

func (w *watermillSQL) handle(ctx context.Context, done func(id int64)) error {
	messages, err := w.subscriber.Subscribe(ctx, topic)
	if err != nil {
		return err
	}
	go func() {
		for m := range messages {
			id, err := strconv.ParseInt(string(m.Payload), 10, 64)
			if err == nil {
				err = w.gorm.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&effect{ID: id, At: time.Now()}).Error
			}
			if err != nil {
				fmt.Println("watermill:", err)
				m.Nack()
				continue
			}
			done(id)
			m.Ack()
		}
	}()
	return nil
}

func (w *watermillSQL) close() { _ = w.subscriber.Close() }
