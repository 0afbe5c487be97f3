package rpc

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// MaxMessage bounds a request and a response, encoded, in bytes, on every transport. A larger one is an Exhausted fault.
const MaxMessage = 4 << 20

// wire copies messages as a network does, by encoding and decoding them: what it would refuse (a string that is not UTF-8, a message
// above MaxMessage) does not pass in one process either, and what it would not carry is not carried.
type wire struct{ buffers sync.Pool }

// keptBuffer is the size in bytes above which a buffer is left to the garbage collector.
const keptBuffer = 64 << 10

// Copy implements inprocgrpc.Cloner.
func (w *wire) Copy(out, in any) error {
	from, ok := in.(proto.Message)
	to, ok2 := out.(proto.Message)
	if !ok || !ok2 {
		return status.Errorf(codes.Internal, "%T and %T must be protobuf messages", in, out)
	}
	b, _ := w.buffers.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	var err error
	*b, err = proto.MarshalOptions{}.MarshalAppend((*b)[:0], from)
	switch {
	case err != nil:
		err = status.Errorf(codes.Internal, "encode the message: %v", err)
	case len(*b) > MaxMessage:
		err = status.Errorf(codes.ResourceExhausted, "a message of %d bytes, at most %d", len(*b), MaxMessage)
	default:
		if err = proto.Unmarshal(*b, to); err != nil {
			err = status.Errorf(codes.Internal, "decode the message: %v", err)
		}
	}
	if cap(*b) <= keptBuffer {
		w.buffers.Put(b)
	}
	return err
}

// Clone implements inprocgrpc.Cloner.
func (w *wire) Clone(in any) (any, error) {
	from, ok := in.(proto.Message)
	if !ok {
		return nil, status.Errorf(codes.Internal, "%T must be a protobuf message", in)
	}
	to := from.ProtoReflect().New().Interface()
	return to, w.Copy(to, from)
}
