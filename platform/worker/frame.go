package worker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A frame is the length of its payload, the number of a request, both in four bytes with the most significant one first, and the payload: a
// request, or an answer, which begins with a byte that tells whether the rest is a value or the text of an error.
const (
	headerBytes = 8
	maxRequest  = 64 << 10
	maxPayload  = maxRequest + 1

	isValue, isError = 0, 1
)

// answer is what a Func returned.
type answer struct {
	value []byte
	err   error
}

// writeFrame writes a frame at once, and forgets it.
func writeFrame(w io.Writer, id uint32, payload []byte) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("a frame of %d bytes is longer than %d", len(payload), maxPayload)
	}
	frame := make([]byte, headerBytes, headerBytes+len(payload))
	defer func() { clear(frame) }()
	binary.BigEndian.PutUint32(frame, uint32(len(payload)))
	binary.BigEndian.PutUint32(frame[4:], id)
	frame = append(frame, payload...)
	_, err := w.Write(frame)
	return err
}

// readFrame reads one frame and nothing more. It returns io.EOF when the input ends before a frame, and another error within one.
func readFrame(r io.Reader) (id uint32, payload []byte, err error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(header[:])
	if length > maxPayload {
		return 0, nil, fmt.Errorf("a frame of %d bytes is longer than %d", length, maxPayload)
	}
	payload = make([]byte, length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, fmt.Errorf("read the rest of a frame: %w", noEOF(err))
	}
	return binary.BigEndian.Uint32(header[4:]), payload, nil
}

// noEOF is err, which is not the end of the input where more must follow.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// payload is the form of an answer in a frame.
func (a answer) payload() []byte {
	if a.err != nil {
		return append([]byte{isError}, a.err.Error()...)
	}
	return append([]byte{isValue}, a.value...)
}

// parseAnswer reads what payload returned.
func parseAnswer(payload []byte) (answer, error) {
	switch {
	case len(payload) > 0 && payload[0] == isValue:
		return answer{value: payload[1:]}, nil
	case len(payload) > 0 && payload[0] == isError:
		return answer{err: errors.New(string(payload[1:]))}, nil
	}
	return answer{}, errors.New("a frame is no answer")
}
