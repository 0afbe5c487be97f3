package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	"cleave/platform/audit"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/repeat"
)

// change edits the rows of run time: together with the number that tells other replicas, and the audit entry.
func (s *Store) change(ctx context.Context, action string, row *Row, edit func(context.Context, []Row) ([]Row, error)) error {
	return s.DB.Tx(ctx, func(ctx context.Context) error {
		version, _, err := s.lock(ctx)
		if err != nil {
			return err
		}
		rows, err := s.rows(ctx)
		if err != nil {
			return err
		}
		if rows, err = edit(ctx, rows); err != nil {
			return err
		}
		if err := s.DB.Queue(ctx).Exec("UPDATE policy_version SET version = ? WHERE id = 1", version+1).Error; err != nil {
			return err
		}
		err = s.Audit.Append(ctx, audit.Entry{Actor: s.Actor, Action: action, Object: "policy/" + row.ID, Detail: map[string]string{
			"role": row.Role, "permission": row.Permission, "scope": row.Scope, "effect": row.Effect,
		}})
		if err != nil {
			return fmt.Errorf("audit %s: %w", action, err)
		}
		s.DB.AfterCommit(ctx, func() { s.apply(ctx, version+1, rows) })
		return nil
	})
}

// lock reads the version and lets no other change begin before the transaction ends.
func (s *Store) lock(ctx context.Context) (version int64, file string, err error) {
	query := "SELECT version, file FROM policy_version WHERE id = 1"
	if s.DB.Dialect() == "postgres" {
		query += " FOR UPDATE"
	}
	var head struct {
		Version int64
		File    string
	}
	err = s.DB.Conn(ctx).Raw(query).Scan(&head).Error
	return head.Version, head.File, err
}

func (s *Store) rows(ctx context.Context) ([]Row, error) {
	var rows []Row
	err := s.DB.Conn(ctx).Raw("SELECT * FROM policies WHERE origin = ? ORDER BY changed_at, id", auth.FromRow).Scan(&rows).Error
	return rows, err
}

func (s *Store) insert(ctx context.Context, r Row) error {
	return s.DB.Queue(ctx).Exec(`INSERT INTO policies (id, origin, line, role, permission, scope, effect, changed_by, changed_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.ID, r.Origin, r.Line, r.Role, r.Permission, r.Scope, r.Effect, r.ChangedBy, r.ChangedAt).Error
}

// apply puts the rows of a version in force, unless a later one is.
func (s *Store) apply(ctx context.Context, version int64, rows []Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version <= s.applied {
		return
	}
	rules := make([]auth.Rule, len(rows))
	for i, r := range rows {
		rules[i] = r.rule(s.DB.Module())
	}
	if err := s.Policy.SetRows(s.DB.Module(), rules); err != nil {
		s.Log.ErrorContext(ctx, "the policy cannot be changed; what was in force stays", "module", s.DB.Module(), "error", err)
	}
	s.applied = version
}

// Sync puts what others changed in force.
func (s *Store) Sync(ctx context.Context) error {
	var version int64
	if err := s.DB.Conn(ctx).Raw("SELECT version FROM policy_version WHERE id = 1").Scan(&version).Error; err != nil {
		return err
	}
	s.mu.Lock()
	current := version == s.applied
	s.mu.Unlock()
	if current {
		return nil
	}
	rows, err := s.rows(ctx)
	if err == nil {
		s.apply(ctx, version, rows)
	}
	return err
}

// Load replaces the lines of the file in the table by those of this binary, if they differ, and puts the rows in force.
func (s *Store) Load(ctx context.Context) error {
	lines := slices.DeleteFunc(s.Policy.Rules(s.DB.Module()), func(r auth.Rule) bool { return r.Origin != auth.FromFile })
	h := sha256.New()
	for _, l := range lines {
		fmt.Fprintln(h, l)
	}
	digest := hex.EncodeToString(h.Sum(nil))
	var known string
	if err := s.DB.Conn(ctx).Raw("SELECT file FROM policy_version WHERE id = 1").Scan(&known).Error; err != nil {
		return err
	}
	if known != digest {
		if err := s.replaceLines(ctx, lines, digest); err != nil {
			return fmt.Errorf("store the policy file of module %s: %w", s.DB.Module(), err)
		}
	}
	return s.Sync(ctx)
}

// replaceLines is a change by whoever deployed the binary, so the audit log tells of it, save for the first.
func (s *Store) replaceLines(ctx context.Context, lines []auth.Rule, digest string) error {
	return s.DB.Tx(ctx, func(ctx context.Context) error {
		version, known, err := s.lock(ctx)
		if err != nil || known == digest {
			return err
		}
		var old []Row
		if err := s.DB.Conn(ctx).Raw("SELECT * FROM policies WHERE origin = ?", auth.FromFile).Scan(&old).Error; err != nil {
			return err
		}
		if err := s.DB.Queue(ctx).Exec("DELETE FROM policies WHERE origin = ?", auth.FromFile).Error; err != nil {
			return err
		}
		added := 0
		for i, l := range lines {
			r := Row{
				ID: "file-" + strconv.Itoa(i+1), Origin: auth.FromFile, Line: l.Line, Role: l.Role, Permission: l.Permission, Scope: l.Scope,
				Effect: Allow, ChangedBy: "file", ChangedAt: db.Micros(s.Now()),
			}
			same := func(o Row) bool { return o.Role == r.Role && o.Permission == r.Permission && o.Scope == r.Scope }
			if j := slices.IndexFunc(old, same); j >= 0 {
				r.ChangedAt = old[j].ChangedAt
				old = slices.Delete(old, j, j+1)
			} else {
				added++
			}
			if err := s.insert(ctx, r); err != nil {
				return err
			}
		}
		if err := s.DB.Queue(ctx).Exec("UPDATE policy_version SET version = ?, file = ? WHERE id = 1", version+1, digest).Error; err != nil {
			return err
		}
		if known == "" || added == 0 && len(old) == 0 {
			return nil
		}
		return s.Audit.Append(ctx, audit.Entry{
			Actor: audit.Actor{Issuer: "system", Subject: "start"}, Action: "ops:policy:load", Object: "policy/file",
			Detail: map[string]string{"added": strconv.Itoa(added), "removed": strconv.Itoa(len(old))},
		})
	})
}

// Run follows what others change until ctx ends. While the database does not answer, what is known stays in force.
func (s *Store) Run(ctx context.Context) error {
	return repeat.Every(ctx, Poll, repeat.Report{
		Log: s.Log.With("module", s.DB.Module()), Level: slog.LevelError,
		Failing: "changes of the policy are not heard of; retrying", Again: "changes of the policy are heard of again",
	}, s.Sync)
}
