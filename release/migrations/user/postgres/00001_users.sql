-- +goose Up
CREATE TABLE users (
    id            uuid    NOT NULL,
    email         text    NOT NULL,
    email_lower   text    NOT NULL,
    display_name  text    NOT NULL,
    search        text    NOT NULL, -- address and display name in lower case
    password_hash text    NOT NULL,
    disabled      boolean NOT NULL DEFAULT false,
    version       bigint  NOT NULL,
    created_at    bigint  NOT NULL,
    updated_at    bigint  NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_lower_key UNIQUE (email_lower)
);
CREATE INDEX users_page ON users (created_at, id);

CREATE TABLE user_roles (
    user_id uuid NOT NULL REFERENCES users (id),
    role    text NOT NULL,
    CONSTRAINT user_roles_pkey PRIMARY KEY (user_id, role)
);
CREATE INDEX user_roles_admins ON user_roles (user_id) WHERE role = 'admin';

-- The first administrator: one row at most. The tokens are those that starts have printed until then.
CREATE TABLE first_admin (
    one        integer NOT NULL,
    user_id    uuid    NOT NULL REFERENCES users (id),
    created_at bigint  NOT NULL,
    CONSTRAINT first_admin_pkey PRIMARY KEY (one),
    CONSTRAINT first_admin_one_check CHECK (one = 1)
);
CREATE TABLE first_admin_tokens (
    hash       text   NOT NULL, -- SHA-256, as base64url
    created_at bigint NOT NULL,
    CONSTRAINT first_admin_tokens_pkey PRIMARY KEY (hash)
);

CREATE TABLE sessions (
    id         uuid   NOT NULL,
    user_id    uuid   NOT NULL REFERENCES users (id),
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    revoked_at bigint NOT NULL DEFAULT 0, -- 0: it was not
    CONSTRAINT sessions_pkey PRIMARY KEY (id)
);
CREATE INDEX sessions_user ON sessions (user_id) WHERE revoked_at = 0;
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    hash       text   NOT NULL, -- SHA-256, as base64url
    session_id uuid   NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at bigint NOT NULL,
    used_at    bigint NOT NULL DEFAULT 0, -- 0: it is still good
    used_key   text   NOT NULL DEFAULT '', -- the Idempotency-Key of the request that used it, hashed
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (hash)
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

-- The keys that sign access tokens; the one with the highest seq signs.
CREATE TABLE signing_keys (
    seq         integer NOT NULL,
    kid         text    NOT NULL, -- the JWK thumbprint (RFC 7638)
    private_key bytea   NOT NULL, -- PKCS #8
    created_at  bigint  NOT NULL,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (seq),
    CONSTRAINT signing_keys_kid_key UNIQUE (kid)
);

CREATE TABLE accounts (
    user_id    uuid   NOT NULL REFERENCES users (id),
    currency   text   NOT NULL,
    granted    bigint NOT NULL DEFAULT 0,
    available  bigint NOT NULL DEFAULT 0,
    reserved   bigint NOT NULL DEFAULT 0,
    captured   bigint NOT NULL DEFAULT 0,
    version    bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT accounts_pkey PRIMARY KEY (user_id),
    CONSTRAINT accounts_available_check CHECK (available >= 0),
    CONSTRAINT accounts_reserved_check CHECK (reserved >= 0),
    CONSTRAINT accounts_captured_check CHECK (captured >= 0),
    CONSTRAINT accounts_granted_check CHECK (granted <= 1000000000000),
    CONSTRAINT accounts_sum_check CHECK (granted = available + reserved + captured)
);

-- A key that was released before it was ever reserved has no user, currency or amount.
CREATE TABLE reservations (
    key        text   NOT NULL,
    user_id    uuid   REFERENCES accounts (user_id),
    currency   text,
    amount     bigint,
    state      text   NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT reservations_pkey PRIMARY KEY (key),
    CONSTRAINT reservations_state_check CHECK (state IN ('reserved', 'captured', 'released')),
    CONSTRAINT reservations_user_check CHECK (state = 'released' OR user_id IS NOT NULL)
);

CREATE TABLE ledger_entries (
    id              uuid   NOT NULL,
    user_id         uuid   NOT NULL REFERENCES accounts (user_id),
    kind            text   NOT NULL,
    amount          bigint NOT NULL,
    currency        text   NOT NULL,
    reservation_key text   REFERENCES reservations (key),
    note            text   NOT NULL DEFAULT '',
    created_at      bigint NOT NULL,
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (id),
    CONSTRAINT ledger_entries_kind_check CHECK (kind IN ('grant', 'reserve', 'capture', 'release')),
    CONSTRAINT ledger_entries_amount_check CHECK (amount > 0),
    CONSTRAINT ledger_entries_grant_check CHECK ((kind = 'grant') = (reservation_key IS NULL)),
    CONSTRAINT ledger_entries_reservation_key_kind_key UNIQUE (reservation_key, kind)
);
CREATE INDEX ledger_entries_page ON ledger_entries (user_id, created_at, id);

-- +goose StatementBegin
CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_entries is append-only' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();

-- +goose Down
DROP TABLE ledger_entries;
DROP FUNCTION ledger_is_append_only;
DROP TABLE reservations;
DROP TABLE accounts;
DROP TABLE signing_keys;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE first_admin_tokens;
DROP TABLE first_admin;
DROP TABLE user_roles;
DROP TABLE users;
