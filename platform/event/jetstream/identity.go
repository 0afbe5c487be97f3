package jetstream

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	identityName = "_pipe" // no module can be named so
	identityKey  = "cleave-pipe"
)

// Identity returns the same text to all that use the servers under one prefix and account, and another one to everybody else. It is the
// metadata of a stream without events, which the first one that asks makes.
func (p *Pipe) Identity(ctx context.Context) (string, error) {
	name := p.stream(identityName)
	s, err := p.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = p.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Description: "which event pipe this is", Subjects: []string{p.o.Prefix + "." + identityName},
			Storage: jetstream.FileStorage, MaxMsgs: 1, Replicas: p.o.Replicas, Metadata: map[string]string{identityKey: uuid.NewString()},
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster
			s, err = p.js.Stream(ctx, name)
		}
	}
	if err != nil {
		return "", p.failed("find stream "+name, err)
	}
	return "nats " + s.CachedInfo().Config.Metadata[identityKey], nil
}
