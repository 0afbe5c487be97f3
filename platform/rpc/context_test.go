package rpc

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A callee may look at its context before or after the end, and sees the same.
func TestCalleeContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	for name, want := range map[string]error{"Cancelled": context.Canceled, "Late": context.DeadlineExceeded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deadline := time.Now().Add(20 * time.Millisecond)
			if want == context.Canceled {
				deadline = time.Now().Add(time.Hour)
			}
			late, early := &calleeContext{deadline: deadline}, &calleeContext{deadline: deadline}
			child, cancel := context.WithCancel(context.WithValue(early, key{}, 1))
			defer cancel()
			require.NoError(t, early.Err())
			for _, c := range []*calleeContext{late, early} {
				c.end(want)
				require.Equal(t, want, c.Err())
				<-c.Done()
				require.Equal(t, want, c.Err())
				require.Equal(t, c.Done(), c.Done())
			}
			<-child.Done()
			require.Equal(t, want, child.Err())
			after, cancel := context.WithCancel(late)
			defer cancel()
			<-after.Done()
			require.Equal(t, want, after.Err())
		})
	}
}

// Nobody starts a goroutine to follow a callee's context.
func TestCalleeContext_IsFollowedWithoutGoroutines(t *testing.T) {
	t.Parallel()
	c := &calleeContext{deadline: time.Now().Add(time.Hour)}
	child, cancel := context.WithCancel(c)
	defer cancel()
	c.end(context.Canceled)
	require.Equal(t, context.Canceled, child.Err(), "at once")
}
