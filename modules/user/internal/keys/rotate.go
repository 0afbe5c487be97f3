package keys

import (
	"context"
	"log/slog"
	"time"

	"cleave/modules/user/internal/store"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/repeat"
)

const (
	reloadEvery = 5 * time.Second
	// settle is how long a key has been published before it signs. Every replica has loaded it by then, and a verifier that
	// fetched the keys just before it was published may fetch them again.
	settle = 2 * reloadEvery
	// keep is how long a key stays published after it has signed its last token.
	keep = auth.MaxLifetime + 5*time.Minute
)

// States of a key.
const (
	StateNext    = "next"    // published, and signs after the next rotation
	StateCurrent = "current" // signs
	StateFormer  = "former"  // no longer signs; what it has signed is still good
)

// Info is what may be told of a key.
type Info struct {
	Kid         string
	State       string
	CreatedAt   time.Time
	ActivatesAt time.Time // zero: not decided
	Encrypted   bool
}

// List returns what there is, the oldest first.
func (r *Ring) List(ctx context.Context) ([]Info, error) {
	rows, err := r.o.Store.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	now := signing(rows, r.o.Now())
	infos := make([]Info, len(rows))
	for i, row := range rows {
		infos[i] = Info{Kid: row.Kid, State: StateFormer, CreatedAt: db.FromMicros(row.CreatedAt), Encrypted: row.SealedBy != ""}
		if row.ActivatesAt != 0 {
			infos[i].ActivatesAt = db.FromMicros(row.ActivatesAt)
		}
		switch {
		case i == now:
			infos[i].State = StateCurrent
		case i > now:
			infos[i].State = StateNext
		}
	}
	return infos, nil
}

// Rotate lets the next key sign, makes another next one, and returns when it begins to sign. That is at once, unless the next
// key is only seconds old.
func (r *Ring) Rotate(ctx context.Context) (from time.Time, err error) {
	return r.rotate(ctx, func([]store.SigningKey) bool { return true })
}

// rotate is Rotate when the keys, as the transaction finds them, are due. Of replicas that find them so together, one rotates.
func (r *Ring) rotate(ctx context.Context, due func([]store.SigningKey) bool) (from time.Time, err error) {
	err = r.o.DB.Tx(ctx, func(ctx context.Context) error {
		rows, err := r.o.Store.SigningKeys(ctx)
		if err != nil || !due(rows) {
			return err
		}
		next := rows[len(rows)-1]
		now := r.o.Now()
		from = db.FromMicros(max(db.Micros(now), next.CreatedAt+settle.Microseconds()))
		won, err := r.o.Store.ActivateSigningKey(ctx, next.Kid, db.Micros(from))
		if err != nil || !won {
			return err
		}
		after, err := r.make(next.Seq+1, 0)
		if err != nil {
			return err
		}
		return r.o.Store.InsertSigningKey(ctx, after)
	})
	if err != nil {
		return from, err
	}
	return from, r.load(ctx)
}

// fill makes the first key and the next one, where they are missing. Of several replicas one succeeds.
func (r *Ring) fill(ctx context.Context) error {
	return r.o.DB.Tx(ctx, func(ctx context.Context) error {
		rows, err := r.o.Store.SigningKeys(ctx)
		if err != nil {
			return err
		}
		var missing []int64 // the times from which they sign
		last := 0
		if len(rows) == 0 {
			missing = []int64{db.Micros(r.o.Now())}
		} else {
			last = rows[len(rows)-1].Seq
		}
		if len(rows) == 0 || rows[len(rows)-1].ActivatesAt != 0 {
			missing = append(missing, 0)
		}
		for i, at := range missing {
			k, err := r.make(last+1+i, at)
			if err != nil {
				return err
			}
			if err := r.o.Store.InsertSigningKey(ctx, k); err != nil {
				return err
			}
		}
		return nil
	})
}

// reseal brings what is encrypted with another secret, or not at all, to the present one.
func (r *Ring) reseal(ctx context.Context) error {
	return r.o.DB.Tx(ctx, func(ctx context.Context) error {
		rows, err := r.o.Store.SigningKeys(ctx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if row.SealedBy == r.sealer.name() && len(row.PublicKey) != 0 {
				continue
			}
			if err := r.resealed(ctx, row); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *Ring) resealed(ctx context.Context, row store.SigningKey) error {
	private, err := r.private(row)
	if err != nil {
		return err
	}
	before := row.SealedBy
	if row.PrivateKey, row.PublicKey, err = encode(private); err != nil {
		return err
	}
	row.PrivateKey, row.SealedBy = r.sealer.seal(row.Kid, row.PrivateKey), r.sealer.name()
	return r.o.Store.ResealSigningKey(ctx, row, before)
}

// Run follows the keys of the other replicas, rotates by age and forgets keys whose tokens have all expired, until ctx ends.
func (r *Ring) Run(ctx context.Context) error {
	return repeat.Every(ctx, reloadEvery, repeat.Report{
		Log: r.o.Log, Level: slog.LevelWarn, Failing: "the signing keys stay as they are for now", Again: "the signing keys are followed again",
	}, r.tend)
}

func (r *Ring) tend(ctx context.Context) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	if r.aged(r.current.Load().rows) {
		if _, err := r.rotate(ctx, r.aged); err != nil {
			return err
		}
		r.o.Log.InfoContext(ctx, "the signing key is rotated by its age")
	}
	rows, now := r.current.Load().rows, r.o.Now()
	for i := range signing(rows, now) {
		if successor := rows[i+1]; now.After(db.FromMicros(successor.ActivatesAt).Add(keep)) {
			if err := r.o.Store.DeleteSigningKey(ctx, rows[i].Kid); err != nil {
				return err
			}
		}
	}
	return nil
}

// aged reports whether the key that signs has done so for its time, and no successor is decided.
func (r *Ring) aged(rows []store.SigningKey) bool {
	now := r.o.Now()
	at := signing(rows, now)
	scheduled := at < len(rows)-1 && rows[at+1].ActivatesAt != 0
	return r.o.Rotation > 0 && !scheduled && !now.Before(db.FromMicros(rows[at].ActivatesAt).Add(r.o.Rotation))
}
