package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"cleave/platform/db"
	"cleave/platform/fault"
)

// encoding names the form of what is hashed. Another form needs another name, and entries that say which they have.
const encoding = "cleave audit 1"

// Head is the last entry of a log, or an earlier one that was written down. The zero Seq is the log without entries.
type Head struct {
	Seq  int64
	Hash []byte // SHA-256
}

// String is the head as SEQ:HASH, the hash in hexadecimal: to be written down and given to ParseHead.
func (h Head) String() string { return strconv.FormatInt(h.Seq, 10) + ":" + hex.EncodeToString(h.Hash) }

// ParseHead is the inverse of String; the fault is Invalid.
func ParseHead(s string) (Head, error) {
	bad := fault.New(fault.Invalid, "audit_head", "%q is not a head of an audit log, such as 12:%s", s, strings.Repeat("0a", sha256.Size))
	seq, sum, _ := strings.Cut(s, ":")
	n, err := strconv.ParseInt(seq, 10, 64)
	if err != nil || n < 0 {
		return Head{}, bad
	}
	h, err := hex.DecodeString(sum)
	if err != nil || len(h) != sha256.Size {
		return Head{}, bad
	}
	return Head{Seq: n, Hash: h}, nil
}

func (h Head) equal(other Head) bool { return h.Seq == other.Seq && bytes.Equal(h.Hash, other.Hash) }

// row is an entry as the table holds it.
type row struct {
	Seq       int64
	At        int64
	Issuer    string
	Subject   string
	Action    string
	Object    string
	Address   string
	RequestID string
	TraceID   string
	Detail    string
	Hash      []byte
}

func (e Entry) row(detail string) row {
	return row{
		Seq: e.Seq, At: db.Micros(e.At), Issuer: e.Actor.Issuer, Subject: e.Actor.Subject, Action: e.Action, Object: e.Object,
		Address: e.Address, RequestID: e.RequestID, TraceID: e.TraceID, Detail: detail,
	}
}

func (r row) entry() (Entry, error) {
	e := Entry{
		Seq: r.Seq, At: db.FromMicros(r.At), Actor: Actor{r.Issuer, r.Subject}, Action: r.Action, Object: r.Object,
		Address: r.Address, RequestID: r.RequestID, TraceID: r.TraceID, Hash: r.Hash,
	}
	if r.Detail != "" {
		if err := json.Unmarshal([]byte(r.Detail), &e.Detail); err != nil {
			return e, fmt.Errorf("decode the detail of audit entry %d: %w", r.Seq, err)
		}
	}
	return e, nil
}

// chained is the hash of the entry that follows the one whose hash is before. The module's name keeps an entry from
// passing for one of another log, and the lengths keep text from moving between columns.
func (r row) chained(module string, before []byte) []byte {
	h := sha256.New()
	text(h, encoding)
	text(h, module)
	text(h, string(before))
	number(h, r.Seq)
	number(h, r.At)
	for _, s := range []string{r.Issuer, r.Subject, r.Action, r.Object, r.Address, r.RequestID, r.TraceID, r.Detail} {
		text(h, s)
	}
	return h.Sum(nil)
}

func text(h hash.Hash, s string) {
	number(h, int64(len(s)))
	h.Write([]byte(s))
}

func number(h hash.Hash, n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n)) //nolint:gosec // the bits, not the number
	h.Write(b[:])
}
