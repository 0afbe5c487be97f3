package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Limits of what decode accepts, so that a damaged row cannot ask for all memory.
const (
	maxMemoryKiB = 1 << 20
	maxPasses    = 64
)

type parameters struct {
	memoryKiB uint32
	passes    uint32
	lanes     uint8
}

// encode writes the PHC string format: $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
func encode(p parameters, salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memoryKiB, p.passes, p.lanes,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

// decode reads what encode wrote, also with other parameters. Its error does not show the hash.
func decode(phc string) (p parameters, salt, key []byte, err error) {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, errors.New("a stored password hash is not an Argon2id PHC string")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memoryKiB, &p.passes, &p.lanes); err != nil ||
		p.memoryKiB == 0 || p.memoryKiB > maxMemoryKiB || p.passes == 0 || p.passes > maxPasses || p.lanes == 0 {
		return p, nil, nil, errors.New("a stored password hash has parameters out of range")
	}
	salt, saltErr := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	key, keyErr := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err := errors.Join(saltErr, keyErr); err != nil || len(salt) < 8 || len(key) < 16 {
		return p, nil, nil, errors.New("a stored password hash has no salt or no hash")
	}
	return p, salt, key, nil
}
