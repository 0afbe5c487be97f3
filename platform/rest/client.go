package rest

import (
	"context"

	"github.com/gin-gonic/gin"
)

// Client is where a request came from, as it says itself: for people to read, never to decide by.
type Client struct{ Address, UserAgent string }

type clientKey struct{}

// withClient remembers the client of a public operation: those that prove an identity are among them, and all others know theirs.
func withClient(ctx context.Context, c *gin.Context) context.Context {
	return context.WithValue(ctx, clientKey{}, Client{Address: c.ClientIP(), UserAgent: c.Request.UserAgent()})
}

// ClientOf is the client of the public operation that ctx belongs to, and zero in any other.
func ClientOf(ctx context.Context) Client {
	client, _ := ctx.Value(clientKey{}).(Client)
	return client
}
