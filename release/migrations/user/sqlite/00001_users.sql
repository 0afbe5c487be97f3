-- +goose Up
CREATE TABLE users (
    id            TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    email_lower   TEXT    NOT NULL,
    display_name  TEXT    NOT NULL,
    search        TEXT    NOT NULL, -- address and display name in lower case
    password_hash TEXT    NOT NULL,
    disabled      boolean NOT NULL DEFAULT false,
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_lower_key UNIQUE (email_lower)
);
CREATE INDEX users_page ON users (created_at, id);

CREATE TABLE user_roles (
    user_id TEXT NOT NULL REFERENCES users (id),
    role    TEXT NOT NULL,
    CONSTRAINT user_roles_pkey PRIMARY KEY (user_id, role)
);
CREATE INDEX user_roles_admins ON user_roles (user_id) WHERE role = 'admin';

-- The first administrator: one row at most. The tokens are those that starts have printed until then.
CREATE TABLE first_admin (
    one        INTEGER NOT NULL,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    CONSTRAINT first_admin_pkey PRIMARY KEY (one),
    CONSTRAINT first_admin_one_check CHECK (one = 1)
);
CREATE TABLE first_admin_tokens (
    hash       TEXT    NOT NULL, -- SHA-256, as base64url
    created_at INTEGER NOT NULL,
    CONSTRAINT first_admin_tokens_pkey PRIMARY KEY (hash)
);

CREATE TABLE sessions (
    id         TEXT    NOT NULL,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL DEFAULT 0, -- 0: it was not
    CONSTRAINT sessions_pkey PRIMARY KEY (id)
);
CREATE INDEX sessions_user ON sessions (user_id) WHERE revoked_at = 0;
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    hash       TEXT    NOT NULL, -- SHA-256, as base64url
    session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL DEFAULT 0, -- 0: it is still good
    used_key   TEXT    NOT NULL DEFAULT '', -- the Idempotency-Key of the request that used it, hashed
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (hash)
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

-- The keys that sign access tokens; the one with the highest seq signs.
CREATE TABLE signing_keys (
    seq         INTEGER NOT NULL,
    kid         TEXT    NOT NULL, -- the JWK thumbprint (RFC 7638)
    private_key BLOB    NOT NULL, -- PKCS #8
    created_at  INTEGER NOT NULL,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (seq),
    CONSTRAINT signing_keys_kid_key UNIQUE (kid)
);

CREATE TABLE accounts (
    user_id    TEXT    NOT NULL REFERENCES users (id),
    currency   TEXT    NOT NULL,
    granted    INTEGER NOT NULL DEFAULT 0,
    available  INTEGER NOT NULL DEFAULT 0,
    reserved   INTEGER NOT NULL DEFAULT 0,
    captured   INTEGER NOT NULL DEFAULT 0,
    version    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT accounts_pkey PRIMARY KEY (user_id),
    CONSTRAINT accounts_available_check CHECK (available >= 0),
    CONSTRAINT accounts_reserved_check CHECK (reserved >= 0),
    CONSTRAINT accounts_captured_check CHECK (captured >= 0),
    CONSTRAINT accounts_granted_check CHECK (granted <= 1000000000000),
    CONSTRAINT accounts_sum_check CHECK (granted = available + reserved + captured)
);

-- A key that was released before it was ever reserved has no user, currency or amount.
CREATE TABLE reservations (
    key        TEXT     NOT NULL,
    user_id    TEXT     REFERENCES accounts (user_id),
    currency   TEXT,
    amount     INTEGER,
    state      TEXT     NOT NULL,
    created_at INTEGER  NOT NULL,
    updated_at INTEGER  NOT NULL,
    CONSTRAINT reservations_pkey PRIMARY KEY (key),
    CONSTRAINT reservations_state_check CHECK (state IN ('reserved', 'captured', 'released')),
    CONSTRAINT reservations_user_check CHECK (state = 'released' OR user_id IS NOT NULL)
);

CREATE TABLE ledger_entries (
    id              TEXT    NOT NULL,
    user_id         TEXT    NOT NULL REFERENCES accounts (user_id),
    kind            TEXT    NOT NULL,
    amount          INTEGER NOT NULL,
    currency        TEXT    NOT NULL,
    reservation_key TEXT    REFERENCES reservations (key),
    note            TEXT    NOT NULL DEFAULT '',
    created_at      INTEGER NOT NULL,
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (id),
    CONSTRAINT ledger_entries_kind_check CHECK (kind IN ('grant', 'reserve', 'capture', 'release')),
    CONSTRAINT ledger_entries_amount_check CHECK (amount > 0),
    CONSTRAINT ledger_entries_grant_check CHECK ((kind = 'grant') = (reservation_key IS NULL)),
    CONSTRAINT ledger_entries_reservation_key_kind_key UNIQUE (reservation_key, kind)
);
CREATE INDEX ledger_entries_page ON ledger_entries (user_id, created_at, id);

-- +goose StatementBegin
CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger_entries is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger_entries is append-only');
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE ledger_entries;
DROP TABLE reservations;
DROP TABLE accounts;
DROP TABLE signing_keys;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE first_admin_tokens;
DROP TABLE first_admin;
DROP TABLE user_roles;
DROP TABLE users;
