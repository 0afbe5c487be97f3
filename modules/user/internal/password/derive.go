package password

import (
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/argon2"
)

// request is how the bytes of one begin: what a key is to be like. The salt follows, and the password.
type request struct {
	Memory, Passes      uint32 // KiB
	Lanes               uint8
	KeyBytes, SaltBytes uint32
}

const maxKeyBytes = 1 << 10

// newRequest asks Derive for a key.
func newRequest(password string, p parameters, salt []byte, size int) []byte {
	r := request{p.memoryKiB, p.passes, p.lanes, uint32(size), uint32(len(salt))}
	b := make([]byte, binary.Size(r), binary.Size(r)+len(salt)+len(password))
	_, _ = binary.Encode(b, binary.BigEndian, r) // of a size that is known
	return append(append(b, salt...), password...)
}

// Derive computes the key that a request of a Hasher asks for; it fails on anything else. It is a function of bytes so that another process
// can compute it.
func Derive(b []byte) ([]byte, error) {
	var r request
	n, err := binary.Decode(b, binary.BigEndian, &r)
	if err != nil || r.Memory == 0 || r.Memory > maxMemoryKiB || r.Passes == 0 || r.Passes > maxPasses || r.Lanes == 0 ||
		r.KeyBytes == 0 || r.KeyBytes > maxKeyBytes || uint64(r.SaltBytes) > uint64(len(b)-n) {
		return nil, errors.New("what a key is asked for with is out of range")
	}
	salt, password := b[n:n+int(r.SaltBytes)], b[n+int(r.SaltBytes):]
	return argon2.IDKey(password, salt, r.Passes, r.Memory, r.Lanes, r.KeyBytes), nil
}
