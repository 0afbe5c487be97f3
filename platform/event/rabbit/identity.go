package rabbit

import (
	"context"
	"errors"
	"fmt"

	"cleave/platform/event"
)

// Identity returns the name of the cluster with the virtual host and the prefix: the same text to all that share their events. Two
// clusters of one name, which is that of the first host unless somebody sets it, are not told apart.
func (p *Pipe) Identity(ctx context.Context) (string, error) {
	if err := p.Ping(ctx); err != nil { // connects if need be
		return "", err
	}
	p.receive.mu.Lock()
	defer p.receive.mu.Unlock()
	if p.receive.conn == nil {
		return "", event.ErrUnreachable
	}
	name, ok := p.receive.conn.Properties["cluster_name"].(string)
	if !ok || name == "" {
		return "", errors.New("the server of RabbitMQ does not name its cluster")
	}
	return fmt.Sprintf("rabbitmq %s %s %s", name, p.o.VHost, p.o.Prefix), nil
}
