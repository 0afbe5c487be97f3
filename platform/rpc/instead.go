package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"
)

// Instead performs a call that an Edge has prepared for another connection, which has not carried it. The principal is the context's, as
// inside one process, and not the one in the metadata, which is written for the other end of that connection.
func (c *Channel) Instead(ctx context.Context, method string, args, reply any) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	h := readHeader(carrier(md))
	h.token = ""
	return c.call(ctx, time.Now(), h, method, args, reply)
}
