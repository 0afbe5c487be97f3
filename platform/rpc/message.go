package rpc

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// MaxMessage bounds a request and a response, encoded, in bytes, on every transport. A larger one is an Exhausted fault.
const MaxMessage = 4 << 20

// wire makes messages cross a process as they cross a network, by encoding and decoding them: what that would refuse (a string that
// is not UTF-8, a message above MaxMessage) does not pass here either, and what it would not carry is not carried.
type wire struct{ buffers sync.Pool }

// keptBuffer is the size in bytes above which a buffer is left to the garbage collector.
const keptBuffer = 64 << 10

func (w *wire) buffer() *[]byte {
	if b, ok := w.buffers.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

func (w *wire) keep(b *[]byte) {
	if cap(*b) <= keptBuffer {
		w.buffers.Put(b)
	}
}

// encode writes the message over b.
func (w *wire) encode(b *[]byte, message any) (*[]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, status.Errorf(codes.Internal, "%T is no protobuf message", message)
	}
	var err error
	*b, err = proto.MarshalOptions{}.MarshalAppend((*b)[:0], m)
	switch {
	case err != nil:
		return nil, status.Errorf(codes.Internal, "encode the message: %v", err)
	case len(*b) > MaxMessage:
		return nil, status.Errorf(codes.ResourceExhausted, "a message of %d bytes, at most %d", len(*b), MaxMessage)
	default:
		return b, nil
	}
}

// decode reads what encode wrote. The message shares no memory with b.
func decode(b *[]byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "%T is no protobuf message", message)
	}
	if err := proto.Unmarshal(*b, m); err != nil {
		return status.Errorf(codes.Internal, "decode the message: %v", err)
	}
	return nil
}
