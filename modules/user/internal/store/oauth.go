package store

import (
	"context"
	"strings"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/platform/db"
)

// OAuthClient is an OAuth client.
type OAuthClient struct {
	ID             string
	Name           string
	SecretHash     string // "" for a public client
	RedirectURIs   []string
	PostLogoutURIs []string
	Grants         []string
	Scopes         []string
	Roles          []string // of the client itself, without a user
	CreatedAt      time.Time
}

// AuthRequest is a request for authorisation and what has become of it.
type AuthRequest struct {
	ID            string
	BrowserHash   string
	ClientID      string
	RedirectURI   string
	Scopes        []string
	State         string
	Nonce         string
	CodeChallenge string
	UserID        string // "" until somebody has logged in
	AuthAt        time.Time
	SecondFactor  bool // they have shown one
	SessionID     string
	ExpiresAt     time.Time
}

type clientRow struct {
	RedirectURIs                                string `gorm:"column:redirect_uris"`
	PostLogoutURIs                              string `gorm:"column:post_logout_uris"`
	ID, Name, SecretHash, Grants, Scopes, Roles string
	CreatedAt                                   int64
}

const selectClients = `SELECT id, name, secret_hash, redirect_uris, post_logout_uris, grants, scopes, roles, created_at
	FROM oauth_clients `

func (s *Store) clients(ctx context.Context, where string, args ...any) ([]OAuthClient, error) {
	var rows []clientRow
	if err := s.db.Conn(ctx).Raw(selectClients+where, args...).Scan(&rows).Error; err != nil {
		return nil, err
	}
	clients := make([]OAuthClient, len(rows))
	for i, r := range rows {
		clients[i] = OAuthClient{
			ID: r.ID, Name: r.Name, SecretHash: r.SecretHash, RedirectURIs: strings.Fields(r.RedirectURIs),
			PostLogoutURIs: strings.Fields(r.PostLogoutURIs), Grants: strings.Fields(r.Grants), Scopes: strings.Fields(r.Scopes),
			Roles: strings.Fields(r.Roles), CreatedAt: db.FromMicros(r.CreatedAt),
		}
	}
	return clients, nil
}

// Client reads a client; ErrClientNotFound when there is none.
func (s *Store) Client(ctx context.Context, id string) (OAuthClient, error) {
	clients, err := s.clients(ctx, "WHERE id = ?", id)
	if err == nil && len(clients) == 0 {
		err = domain.ErrClientNotFound
	}
	if err != nil {
		return OAuthClient{}, err
	}
	return clients[0], nil
}

// Clients reads a page of clients, the newest first.
func (s *Store) Clients(ctx context.Context, p Page) ([]OAuthClient, error) {
	if p.BeforeID == "" {
		return s.clients(ctx, "ORDER BY created_at DESC, id DESC LIMIT ?", p.Limit)
	}
	return s.clients(ctx, "WHERE (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?", p.Before, p.BeforeID, p.Limit)
}

// InsertClient queues a client.
func (s *Store) InsertClient(ctx context.Context, c OAuthClient) error {
	return s.db.Queue(ctx).Exec(`INSERT INTO oauth_clients (id, name, secret_hash, redirect_uris, post_logout_uris, grants, scopes, roles, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.ID, c.Name, c.SecretHash, strings.Join(c.RedirectURIs, " "), strings.Join(c.PostLogoutURIs, " "),
		strings.Join(c.Grants, " "), strings.Join(c.Scopes, " "), strings.Join(c.Roles, " "), db.Micros(c.CreatedAt)).Error
}

// DeleteClient removes a client with its requests, and reports false when there is none.
func (s *Store) DeleteClient(ctx context.Context, id string) (bool, error) {
	res := s.db.Conn(ctx).Exec("DELETE FROM oauth_clients WHERE id = ?", id)
	return res.RowsAffected == 1, res.Error
}

// SessionsOfClient reads the id and user of the sessions that a client has been given and that have not ended.
func (s *Store) SessionsOfClient(ctx context.Context, clientID string) ([]Session, error) {
	var list []Session
	err := s.db.Conn(ctx).Raw("SELECT id, user_id FROM sessions WHERE client_id = ? AND revoked_at = 0", clientID).Scan(&list).Error
	return list, err
}

// InsertAuthRequest queues a request for authorisation.
func (s *Store) InsertAuthRequest(ctx context.Context, r AuthRequest) error {
	return s.db.Queue(ctx).Exec(`INSERT INTO oauth_requests (id, browser_hash, client_id, redirect_uri, scopes, state, nonce, code_challenge, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.ID, r.BrowserHash, r.ClientID, r.RedirectURI, strings.Join(r.Scopes, " "), r.State, r.Nonce,
		r.CodeChallenge, db.Micros(r.ExpiresAt)).Error
}

// AuthRequest reads a request of a browser that waits for a log-in or consent; false when there is none.
func (s *Store) AuthRequest(ctx context.Context, id, browserHash string, now time.Time) (AuthRequest, bool, error) {
	return s.authRequest(ctx, "id = ? AND browser_hash = ? AND code_hash = '' AND expires_at > ?", id, browserHash, db.Micros(now))
}

// AuthRequestOfCode reads the request that a code was given for, used or not.
func (s *Store) AuthRequestOfCode(ctx context.Context, codeHash string) (AuthRequest, bool, error) {
	return s.authRequest(ctx, "code_hash = ?", codeHash)
}

func (s *Store) authRequest(ctx context.Context, where string, args ...any) (AuthRequest, bool, error) {
	var rows []struct {
		RedirectURI string `gorm:"column:redirect_uri"`

		ID, BrowserHash, ClientID, Scopes, State, Nonce, CodeChallenge, UserID, SessionID string

		AuthAt, ExpiresAt int64
		SecondFactor      bool
	}
	err := s.db.Conn(ctx).Raw(`SELECT id, browser_hash, client_id, redirect_uri, scopes, state, nonce, code_challenge, user_id, session_id, auth_at, second_factor, expires_at
		FROM oauth_requests WHERE `+where, args...).Scan(&rows).Error
	if err != nil || len(rows) == 0 {
		return AuthRequest{}, false, err
	}
	r := rows[0]
	return AuthRequest{
		ID: r.ID, BrowserHash: r.BrowserHash, ClientID: r.ClientID, RedirectURI: r.RedirectURI, Scopes: strings.Fields(r.Scopes),
		State: r.State, Nonce: r.Nonce, CodeChallenge: r.CodeChallenge, UserID: r.UserID, SessionID: r.SessionID,
		AuthAt: db.FromMicros(r.AuthAt), SecondFactor: r.SecondFactor, ExpiresAt: db.FromMicros(r.ExpiresAt),
	}, true, nil
}

// LogInAuthRequest records who has logged in for a request, and whether with a second factor.
func (s *Store) LogInAuthRequest(ctx context.Context, id, userID string, secondFactor bool, at time.Time) error {
	return s.db.Queue(ctx).Exec("UPDATE oauth_requests SET user_id = ?, auth_at = ?, second_factor = ? WHERE id = ? AND code_hash = ''",
		userID, db.Micros(at), secondFactor, id).Error
}

// GrantAuthRequest gives a request its code, and reports false when it has one already.
func (s *Store) GrantAuthRequest(ctx context.Context, id, codeHash, sessionID string, expires time.Time) (bool, error) {
	res := s.db.Conn(ctx).Exec("UPDATE oauth_requests SET code_hash = ?, session_id = ?, expires_at = ? WHERE id = ? AND code_hash = ''",
		codeHash, sessionID, db.Micros(expires), id)
	return res.RowsAffected == 1, res.Error
}

// DeleteAuthRequest queues the end of a request.
func (s *Store) DeleteAuthRequest(ctx context.Context, id string) error {
	return s.db.Queue(ctx).Exec("DELETE FROM oauth_requests WHERE id = ?", id).Error
}

// UseCode uses a code up, and reports whether this call was the one that did.
func (s *Store) UseCode(ctx context.Context, codeHash string, now time.Time) (bool, error) {
	res := s.db.Conn(ctx).Exec("UPDATE oauth_requests SET used_at = ? WHERE code_hash = ? AND used_at = 0", db.Micros(now), codeHash)
	return res.RowsAffected == 1, res.Error
}

// PurgeAuthRequests removes requests that expired before a time.
func (s *Store) PurgeAuthRequests(ctx context.Context, before time.Time) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		return s.db.Queue(ctx).Exec("DELETE FROM oauth_requests WHERE expires_at < ?", db.Micros(before)).Error
	})
}
