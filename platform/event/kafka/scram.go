package kafka

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"strconv"
	"strings"
)

// scram is the client's side of SCRAM (RFC 5802) without channel binding,
// which sarama leaves to its users.
type scram struct {
	hash     func() hash.Hash
	password string
	bare     string // the client's first message without its header
	verifier []byte // what the server has to prove that it knows
	step     int
}

// Begin implements sarama.SCRAMClient.
func (s *scram) Begin(user, password, _ string) error {
	s.password = password
	s.bare = "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) + ",r=" + rand.Text()
	return nil
}

// Step implements sarama.SCRAMClient.
func (s *scram) Step(challenge string) (string, error) {
	s.step++
	switch s.step {
	case 1:
		return "n,," + s.bare, nil
	case 2:
		return s.prove(challenge)
	default:
		return "", s.check(challenge)
	}
}

// Done implements sarama.SCRAMClient.
func (s *scram) Done() bool { return s.step >= 3 }

func (s *scram) prove(challenge string) (string, error) {
	fields := fields(challenge)
	salt, err := base64.StdEncoding.DecodeString(fields["s"])
	if err != nil {
		return "", errors.New("SCRAM: the salt is not base64")
	}
	rounds, err := strconv.Atoi(fields["i"])
	if err != nil || rounds < 4096 { // RFC 7677 section 4
		return "", errors.New("SCRAM: the broker asks for too few iterations")
	}
	if _, nonce, _ := strings.Cut(s.bare, ",r="); !strings.HasPrefix(fields["r"], nonce) {
		return "", errors.New("SCRAM: the nonce is not ours")
	}
	salted, err := pbkdf2.Key(s.hash, s.password, salt, rounds, s.hash().Size())
	if err != nil {
		return "", err
	}
	client := s.mac(salted, "Client Key")
	stored := s.hash()
	stored.Write(client)
	final := "c=biws,r=" + fields["r"]
	message := s.bare + "," + challenge + "," + final
	proof := make([]byte, len(client))
	subtle.XORBytes(proof, client, s.mac(stored.Sum(nil), message))
	s.verifier = s.mac(s.mac(salted, "Server Key"), message)
	return final + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

func (s *scram) check(final string) error {
	signature, err := base64.StdEncoding.DecodeString(fields(final)["v"])
	if err != nil || !hmac.Equal(signature, s.verifier) {
		return errors.New("SCRAM: the broker does not know the password")
	}
	return nil
}

func (s *scram) mac(key []byte, message string) []byte {
	m := hmac.New(s.hash, key)
	m.Write([]byte(message))
	return m.Sum(nil)
}

func fields(message string) map[string]string {
	f := map[string]string{}
	for part := range strings.SplitSeq(message, ",") {
		name, value, _ := strings.Cut(part, "=")
		f[name] = value
	}
	return f
}
