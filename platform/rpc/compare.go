package rpc

import (
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"cleave/platform/fault"
)

// maxComparing bounds the reads that are asked a second time at once; further ones are not compared.
const maxComparing = 8

// Comparison is what two targets of an edge answered to the same reads.
type Comparison struct {
	Compared  int64
	Different int64
	Example   string // a method that was answered differently
}

type comparison struct {
	edge  *Edge
	other *target
	slots *semaphore.Weighted
	wg    sync.WaitGroup

	mu     sync.Mutex
	result Comparison
	ended  bool
}

// Compare asks the reads that pass the edge until ctx ends of conn, too, and compares the answers. A read is a method whose contract
// says NO_SIDE_EFFECTS. What differs is asked once more in both places, for a change may have come in between. It is a Conflict
// fault while another Compare runs.
func (e *Edge) Compare(ctx context.Context, identity Identity, conn grpc.ClientConnInterface) (Comparison, error) {
	c := &comparison{edge: e, other: newTarget(identity, conn), slots: semaphore.NewWeighted(maxComparing)}
	if !e.comparing.CompareAndSwap(nil, c) {
		return Comparison{}, fault.New(fault.Conflict, "comparing", "this edge is being compared already")
	}
	<-ctx.Done()
	e.comparing.Store(nil)
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.wg.Wait()
	return c.result, nil
}

// read compares one answer, beside the caller.
func (c *comparison) read(ctx context.Context, method string, args, reply any) {
	in, isIn := args.(proto.Message)
	out, isOut := reply.(proto.Message)
	if !isIn || !isOut || !isRead(method) || !c.slots.TryAcquire(1) {
		return
	}
	in, out = proto.Clone(in), proto.Clone(out)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		c.slots.Release(1)
		return
	}
	c.wg.Go(func() {
		defer c.slots.Release(1)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultTimeout)
		defer cancel()
		other, err := c.ask(ctx, c.other, method, in, out)
		same := err == nil && proto.Equal(out, other)
		if !same {
			var again, second proto.Message
			again, err = c.ask(ctx, c.edge.target.Load(), method, in, out)
			if err != nil {
				return // nothing to compare with
			}
			second, err = c.ask(ctx, c.other, method, in, out)
			same = err == nil && proto.Equal(again, second)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.result.Compared++
		if !same {
			c.result.Different++
			c.result.Example = strings.TrimPrefix(method, "/")
		}
	})
}

func (c *comparison) ask(ctx context.Context, to *target, method string, in, like proto.Message) (proto.Message, error) {
	out := like.ProtoReflect().New().Interface()
	return out, c.edge.send(ctx, time.Now(), to, method, in, out, nil)
}

func isRead(method string) bool {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return false
	}
	o, _ := d.Options().(*descriptorpb.MethodOptions)
	return o.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}
