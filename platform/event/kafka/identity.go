package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"cleave/platform/event"
)

// Identity returns the id of the cluster (KIP-78) with the prefix of the topics: the same text to all that share their events.
func (p *Pipe) Identity(ctx context.Context) (string, error) {
	type answer struct {
		id  string
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		a.err = p.admin(func(c sarama.Client, _ sarama.ClusterAdmin) error {
			broker, err := c.Controller()
			if err != nil {
				return failed("find Kafka's controller", err)
			}
			m, err := broker.GetMetadata(sarama.NewMetadataRequest(c.Config().Version, []string{}))
			switch {
			case err != nil:
				return failed("ask Kafka for its id", err)
			case m.ClusterID == nil:
				return errors.New("the brokers of Kafka have no id")
			}
			a.id = fmt.Sprintf("kafka %s %s", *m.ClusterID, p.o.Prefix)
			return nil
		})
		answers <- a
	}()
	select {
	case <-ctx.Done():
		return "", fmt.Errorf("%w: %w", event.ErrUnreachable, ctx.Err())
	case a := <-answers:
		return a.id, a.err
	}
}
