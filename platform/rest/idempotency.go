package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"gorm.io/gorm"

	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/fault"
)

const (
	headerReplayed  = "Idempotency-Replayed"
	maxKeyLen       = 255
	anonymous       = "anonymous"
	idempotencyPkey = "idempotency_keys_pkey"
	purgeBatch      = 1000
)

var (
	errKeyMalformed = fault.New(fault.Invalid, "idempotency_key_malformed", "Idempotency-Key must be given once and hold 1 to 255 printable ASCII characters").
			With(fault.Field{Path: headerKey, Code: "pattern", Message: "must be 1 to 255 printable ASCII characters"})
	errKeyInFlight = fault.New(fault.Conflict, "idempotency_key_in_flight", "a request with this Idempotency-Key is still under way")
	errKeyReused   = fault.New(fault.Unprocessable, "idempotency_key_reused", "this Idempotency-Key was used for another request")

	// errAnswered ends the unit of work of a handler that has itself written an error answer.
	errAnswered = errors.New("the handler answered with an error")
)

// execute runs the handler of a POST in one unit of work, whose commit comes before the answer. With
// an Idempotency-Key the unit stores the answer too, if it is a 2xx, so effect and answer are kept or
// lost together. The first request with a key costs no look-up: a later one does its work again, in
// vain, because the key's row refuses the commit, and then gets the stored answer.
func (m *mounted) execute(c *gin.Context, op *operation, body []byte) error {
	d, err := m.database(c)
	if err != nil {
		return err
	}
	keys := c.Request.Header[headerKey]
	if len(keys) == 0 {
		return m.commit(c, d, op, nil)
	}
	key, err := idempotencyKey(keys)
	if err != nil {
		return err
	}
	subject := anonymous
	if p, ok := auth.From(c.Request.Context()); ok {
		subject = p.Subject
	}
	a, err := newAttempt(subject+" "+op.id, key, c.Request.Method, c.Request.RequestURI, body)
	if err != nil {
		return err
	}
	if !m.api.inFlight.begin(a.id) {
		return errKeyInFlight
	}
	defer m.api.inFlight.end(a.id)
	return m.commit(c, d, op, a)
}

// idempotencyKey returns the one well-formed key (draft-ietf-httpapi-idempotency-key-header, here
// taken as it is, with or without quotes).
func idempotencyKey(values []string) (string, error) {
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxKeyLen {
		return "", errKeyMalformed
	}
	for i := range len(values[0]) {
		if c := values[0][i]; c < ' ' || c > '~' {
			return "", errKeyMalformed
		}
	}
	return values[0], nil
}

// commit runs the handler and sends its answer once it is committed; a may be nil. A handler whose
// transaction the database gave up for another one's sake runs again. When the handler or the commit
// fails and a is not nil, the answer stored under its key goes out instead, if any.
func (m *mounted) commit(c *gin.Context, d *db.DB, op *operation, a *attempt) error {
	ctx := c.Request.Context()
	var b *buffer
	err := d.Lazy(ctx, func(ctx context.Context) error {
		b = newBuffer(c.Writer)
		if body, ok := c.Request.Body.(*validatedBody); ok {
			_, _ = body.Seek(0, io.SeekStart) // where the last run may have left it; no such seek fails
		}
		switch err := op.call(c, c.Request.WithContext(ctx), b); {
		case err != nil:
			return err
		case b.status >= http.StatusBadRequest:
			return errAnswered
		case a == nil || b.status >= http.StatusMultipleChoices:
			return nil
		}
		return m.store(ctx, d, a, b)
	})
	if err != nil && a != nil {
		stored, lookErr := lookup(ctx, d, a)
		switch {
		case stored != nil:
			stored.send(c.Writer)
			return nil
		case lookErr != nil:
			return lookErr
		case db.IsUnique(err, idempotencyPkey):
			return errKeyInFlight.Wrap(err) // stored by another replica and purged since, or not visible yet
		}
	}
	if err == nil || errors.Is(err, errAnswered) {
		b.send()
		return nil
	}
	return err
}

type keyRow struct {
	Fingerprint string
	Status      int
	Answer      []byte
}

func (m *mounted) store(ctx context.Context, d *db.DB, a *attempt, b *buffer) error {
	answer, err := a.seal(b)
	if err != nil {
		return err
	}
	return d.Tx(ctx, func(ctx context.Context) error {
		return d.Queue(ctx).Exec("INSERT INTO idempotency_keys (scope, key_hash, fingerprint, status, answer, created_at) VALUES (?, ?, ?, ?, ?, ?)",
			a.scope, a.keyHash, a.fingerprint, b.status, answer, db.Micros(m.api.o.Now())).Error
	})
}

// lookup returns the answer stored under the attempt's key, nil when there is none. It is a fault
// when the key was used for another request, or when that cannot be known.
func lookup(ctx context.Context, d *db.DB, a *attempt) (*answer, error) {
	var row keyRow
	err := d.Conn(ctx).Raw("SELECT fingerprint, status, answer FROM idempotency_keys WHERE scope = ? AND key_hash = ?", a.scope, a.keyHash).Take(&row).Error
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return nil, nil
	case ctx.Err() != nil:
		return nil, fault.From(ctx.Err()).Wrap(err)
	case err != nil:
		return nil, fault.New(fault.Unavailable, "", "it is not known whether this request was done before").Wrap(err)
	case row.Fingerprint != a.fingerprint:
		return nil, errKeyReused
	}
	return a.open(row)
}

// PurgeIdempotency deletes the answers of module database d that were stored before the given time,
// and returns how many. A request repeated after that is done anew.
func PurgeIdempotency(ctx context.Context, d *db.DB, before time.Time) (int64, error) {
	var total int64
	for {
		var n int64
		err := d.Tx(ctx, func(ctx context.Context) error {
			r := d.Conn(ctx).Exec(`DELETE FROM idempotency_keys WHERE (scope, key_hash) IN
				(SELECT scope, key_hash FROM idempotency_keys WHERE created_at < ? ORDER BY created_at LIMIT ?)`, db.Micros(before), purgeBatch)
			n = r.RowsAffected
			return r.Error
		})
		total += n
		if err != nil || n < purgeBatch {
			return total, err
		}
	}
}

// inFlight holds the attempts under way in this process. Those of other replicas meet in the table.
type inFlight struct {
	mu  sync.Mutex
	ids map[string]struct{}
}

func (f *inFlight) begin(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.ids[id]; ok {
		return false
	}
	if f.ids == nil {
		f.ids = map[string]struct{}{}
	}
	f.ids[id] = struct{}{}
	return true
}

func (f *inFlight) end(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ids, id)
}
