package store

import (
	"context"
	"strings"

	"cleave/modules/user/internal/domain"
	"cleave/platform/db"
)

// userRow is a row of users, with the roles beside it.
type userRow struct {
	ID              string
	Email           string
	DisplayName     string
	PasswordHash    string
	Disabled        bool
	EmailVerifiedAt int64
	PendingEmail    string
	Version         int64
	CreatedAt       int64
	UpdatedAt       int64
	Roles           string
}

const selectUsers = `SELECT u.id, u.email, u.display_name, u.password_hash, u.disabled, u.email_verified_at, u.pending_email, u.version, u.created_at, u.updated_at,
	(SELECT string_agg(r.role, ',' ORDER BY r.role) FROM user_roles r WHERE r.user_id = u.id) AS roles
	FROM users u WHERE u.erased_at = 0 `

func (r userRow) user() domain.User {
	u := domain.User{
		ID: r.ID, Email: domain.Email(r.Email), DisplayName: r.DisplayName, PasswordHash: r.PasswordHash, Disabled: r.Disabled,
		EmailVerified: r.EmailVerifiedAt != 0, PendingEmail: domain.Email(r.PendingEmail), Version: r.Version, CreatedAt: db.FromMicros(r.CreatedAt), UpdatedAt: db.FromMicros(r.UpdatedAt),
	}
	if r.Roles != "" {
		u.Roles = strings.Split(r.Roles, ",")
	}
	return u
}

// insertUser is the statement that userValues belongs to.
const insertUser = `INSERT INTO users (id, email, email_lower, display_name, search, password_hash, disabled, email_verified_at, version, created_at, updated_at)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func userValues(u domain.User) []any {
	created, updated, verified := db.Micros(u.CreatedAt), db.Micros(u.UpdatedAt), int64(0)
	if u.EmailVerified {
		verified = created
	}
	return []any{u.ID, string(u.Email), u.Email.Lower(), u.DisplayName, searchText(u), u.PasswordHash, u.Disabled, verified, u.Version, created, updated}
}

// InsertUser queues a new user with their roles and an empty account in the given currency.
func (s *Store) InsertUser(ctx context.Context, u domain.User, currency string) error {
	if err := s.db.Queue(ctx).Exec(insertUser, userValues(u)...).Error; err != nil {
		return err
	}
	return s.insertBelongings(ctx, u, currency)
}

// InsertUserIfFree is InsertUser, unless another user has the address: then it changes nothing and returns false.
func (s *Store) InsertUserIfFree(ctx context.Context, u domain.User, currency string) (bool, error) {
	res := s.db.Conn(ctx).Exec(insertUser+" ON CONFLICT (email_lower) DO NOTHING", userValues(u)...)
	if res.Error != nil || res.RowsAffected == 0 {
		return false, res.Error
	}
	return true, s.insertBelongings(ctx, u, currency)
}

func (s *Store) insertBelongings(ctx context.Context, u domain.User, currency string) error {
	for _, role := range u.Roles {
		if err := s.InsertRole(ctx, u.ID, role); err != nil {
			return err
		}
	}
	return s.db.Queue(ctx).Exec("INSERT INTO accounts (user_id, currency, version, updated_at) VALUES (?, ?, 1, ?)", u.ID, currency, db.Micros(u.UpdatedAt)).Error
}

// InsertRole queues a role for a user.
func (s *Store) InsertRole(ctx context.Context, userID, role string) error {
	return s.db.Queue(ctx).Exec("INSERT INTO user_roles (user_id, role) VALUES (?, ?)", userID, role).Error
}

// ReplaceRoles queues that a user has the roles of u and no others.
func (s *Store) ReplaceRoles(ctx context.Context, u domain.User) error {
	if err := s.db.Queue(ctx).Exec("DELETE FROM user_roles WHERE user_id = ?", u.ID).Error; err != nil {
		return err
	}
	for _, role := range u.Roles {
		if err := s.InsertRole(ctx, u.ID, role); err != nil {
			return err
		}
	}
	return nil
}

// UpdateUser writes the user's profile and state if the stored version is still the one before u's; else it is ErrStale.
func (s *Store) UpdateUser(ctx context.Context, u domain.User) error {
	updated, verified := db.Micros(u.UpdatedAt), int64(0)
	if u.EmailVerified {
		verified = updated
	}
	res := s.db.Conn(ctx).Exec(`UPDATE users SET email = ?, email_lower = ?, pending_email = ?, display_name = ?, search = ?, disabled = ?, version = ?, updated_at = ?,
		email_verified_at = CASE WHEN email_lower = ? AND email_verified_at <> 0 THEN email_verified_at ELSE ? END WHERE id = ? AND version = ?`,
		string(u.Email), u.Email.Lower(), string(u.PendingEmail), u.DisplayName, searchText(u), u.Disabled, u.Version, updated,
		u.Email.Lower(), verified, u.ID, u.Version-1)
	if res.Error == nil && res.RowsAffected == 0 {
		return domain.ErrStale
	}
	return res.Error
}

// searchText is what a search looks through. Go makes the lower case, because the databases differ beyond ASCII.
func searchText(u domain.User) string { return strings.ToLower(string(u.Email) + "\n" + u.DisplayName) }

// User reads a user; ErrUserNotFound when there is none.
func (s *Store) User(ctx context.Context, id string) (domain.User, error) {
	return s.one(ctx, "AND u.id = ?", id)
}

// UserForUpdate reads a user whom no other transaction changes until this one ends; ErrUserNotFound when there is none.
func (s *Store) UserForUpdate(ctx context.Context, id string) (domain.User, error) {
	return s.one(ctx, "AND u.id = ?"+s.forUpdate("u"), id)
}

// UserByEmail reads the user who has an address in any letter case; ErrUserNotFound when there is none.
func (s *Store) UserByEmail(ctx context.Context, e domain.Email) (domain.User, error) {
	return s.one(ctx, "AND u.email_lower = ?", e.Lower())
}

func (s *Store) one(ctx context.Context, where string, args ...any) (domain.User, error) {
	users, err := s.many(ctx, where, args...)
	if err != nil {
		return domain.User{}, err
	}
	if len(users) == 0 {
		return domain.User{}, domain.ErrUserNotFound
	}
	return users[0], nil
}

func (s *Store) many(ctx context.Context, where string, args ...any) ([]domain.User, error) {
	var rows []userRow
	if err := s.db.Conn(ctx).Raw(selectUsers+where, args...).Scan(&rows).Error; err != nil {
		return nil, err
	}
	users := make([]domain.User, len(rows))
	for i, r := range rows {
		users[i] = r.user()
	}
	return users, nil
}

// Users reads those of the given users that exist, each once.
func (s *Store) Users(ctx context.Context, ids []string) ([]domain.User, error) {
	return s.many(ctx, "AND u.id IN ?", ids)
}

// UserFilter narrows a list of users; the zero value keeps all.
type UserFilter struct {
	Text     string // kept are those whose address or name contains it in any letter case
	Disabled *bool
}

// Page is where a list goes on and how much of it is wanted.
type Page struct {
	Before   int64  // unix microseconds; with BeforeID, the last item of the page before
	BeforeID string // "" for the first page
	Limit    int
}

// ListUsers reads a page of users, the newest first.
func (s *Store) ListUsers(ctx context.Context, f UserFilter, p Page) ([]domain.User, error) {
	where, args := "", []any(nil)
	if f.Text != "" {
		where += ` AND u.search LIKE ? ESCAPE '\'`
		args = append(args, "%"+likeEscaper.Replace(strings.ToLower(f.Text))+"%")
	}
	if f.Disabled != nil {
		where += " AND u.disabled = ?"
		args = append(args, *f.Disabled)
	}
	if p.BeforeID != "" {
		where += " AND (u.created_at, u.id) < (?, ?)"
		args = append(args, p.Before, p.BeforeID)
	}
	return s.many(ctx, where+" ORDER BY u.created_at DESC, u.id DESC LIMIT ?", append(args, p.Limit)...)
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// LockAdmins returns the ids of the administrators who are not disabled. Until the transaction ends, no other one changes
// these users or passes LockAdmins. Call it before anything else is locked. On Postgres those who pass wait for each other first, and then
// read: locked rows alone would make them deadlock, since who waited for an administrator that is none any more keeps that row.
func (s *Store) LockAdmins(ctx context.Context) ([]string, error) {
	if s.db.Dialect() == "postgres" {
		if err := s.db.Conn(ctx).Exec("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", "user:admins").Error; err != nil {
			return nil, err
		}
	}
	var ids []string
	err := s.db.Conn(ctx).Raw(`SELECT u.id FROM users u JOIN user_roles r ON r.user_id = u.id AND r.role = 'admin'
		WHERE NOT u.disabled ORDER BY u.id` + s.forUpdate("u, r")).Scan(&ids).Error
	return ids, err
}

// forUpdate locks the rows of tables that a query reads. On SQLite the transaction holds the only writer anyway.
func (s *Store) forUpdate(tables string) string {
	if s.db.Dialect() == "sqlite" {
		return ""
	}
	return " FOR UPDATE OF " + tables
}
