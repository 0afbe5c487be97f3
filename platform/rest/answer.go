package rest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/gin-gonic/gin"
)

const secretSize = 32 // bytes of the sealing key and of the fingerprint key

// keptHeaders are the headers of an answer that are stored with it.
var keptHeaders = []string{"Content-Type", "Location", "Etag"}

// attempt is one request with an Idempotency-Key.
//
// The key is the client's and is stored only as its hash. Two secrets are derived from it: one seals
// the answer, which may hold tokens, and one makes the fingerprint, because the plain hash of a body
// with a password in it would let a reader of the table try passwords at full speed. With a key that
// can be guessed neither protects anything, so the documents ask for a UUID.
type attempt struct {
	id          string // of the in-flight table
	scope       string
	keyHash     string
	fingerprint string
	sealKey     []byte
}

func newAttempt(scope, key, method, uri string, body []byte) (*attempt, error) {
	secrets, err := hkdf.Key(sha256.New, []byte(key), nil, "cleave idempotency", 2*secretSize)
	if err != nil {
		return nil, fmt.Errorf("derive from the idempotency key: %w", err)
	}
	hash := sha256.Sum256([]byte(key))
	mac := hmac.New(sha256.New, secrets[secretSize:])
	writeSized(mac, method)
	writeSized(mac, uri)
	mac.Write(body)
	keyHash := hex.EncodeToString(hash[:])
	return &attempt{
		id:          scope + " " + keyHash,
		scope:       scope,
		keyHash:     keyHash,
		fingerprint: hex.EncodeToString(mac.Sum(nil)),
		sealKey:     secrets[:secretSize],
	}, nil
}

// answer is a stored response.
type answer struct {
	status int
	header map[string]string
	body   []byte
}

// seal encrypts headers and body: a 4-byte length, the headers in JSON, then the body, in AES-256-GCM
// with a random nonce in front and the row's other columns as associated data.
func (a *attempt) seal(b *buffer) ([]byte, error) {
	kept := make(map[string]string, len(keptHeaders))
	for _, name := range keptHeaders {
		if v := b.header[name]; len(v) > 0 {
			kept[name] = v[0]
		}
	}
	header, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("encode the headers of an answer: %w", err)
	}
	box, err := a.box()
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 4, 4+len(header)+b.body.Len())
	binary.BigEndian.PutUint32(plain, uint32(len(header))) //nolint:gosec // three short headers
	plain = append(append(plain, header...), b.body.Bytes()...)
	return box.Seal(nil, nil, plain, a.associated(b.status)), nil // #nosec G407 -- the box draws the nonce itself
}

func (a *attempt) open(row keyRow) (*answer, error) {
	box, err := a.box()
	if err != nil {
		return nil, err
	}
	plain, err := box.Open(nil, nil, row.Answer, a.associated(row.Status))
	if err != nil {
		return nil, fmt.Errorf("open the answer stored under an idempotency key: %w", err)
	}
	if len(plain) < 4 || uint64(len(plain)-4) < uint64(binary.BigEndian.Uint32(plain)) {
		return nil, errors.New("the answer stored under an idempotency key is cut short")
	}
	n := 4 + int(binary.BigEndian.Uint32(plain))
	out := &answer{status: row.Status, body: plain[n:]}
	if err := json.Unmarshal(plain[4:n], &out.header); err != nil {
		return nil, fmt.Errorf("decode the headers of a stored answer: %w", err)
	}
	return out, nil
}

func (a *attempt) box() (cipher.AEAD, error) {
	block, err := aes.NewCipher(a.sealKey)
	if err != nil {
		return nil, fmt.Errorf("seal an answer: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (a *attempt) associated(status int) []byte {
	return []byte(a.id + " " + a.fingerprint + " " + strconv.Itoa(status))
}

// send gives the stored answer again and says so.
func (s *answer) send(w gin.ResponseWriter) {
	h := w.Header()
	for name, v := range s.header {
		h.Set(name, v)
	}
	h.Set(headerReplayed, "true")
	w.WriteHeader(s.status)
	w.WriteHeaderNow()
	_, _ = w.Write(s.body)
}
