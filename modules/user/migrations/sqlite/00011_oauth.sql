-- +goose Up
ALTER TABLE sessions ADD COLUMN client_id TEXT NOT NULL DEFAULT ''; -- the OAuth client that it was given to; '': a log-in through the REST API
ALTER TABLE sessions ADD COLUMN scopes TEXT NOT NULL DEFAULT ''; -- what the user has consented to, separated by spaces

CREATE TABLE oauth_clients (
    id               TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    secret_hash      TEXT    NOT NULL, -- SHA-256, as base64url; '': a public client
    redirect_uris    TEXT    NOT NULL, -- this and the lists below: separated by spaces
    post_logout_uris TEXT    NOT NULL,
    grants           TEXT    NOT NULL,
    scopes           TEXT    NOT NULL,
    roles            TEXT    NOT NULL, -- of the client itself, without a user
    created_at       INTEGER NOT NULL,
    CONSTRAINT oauth_clients_pkey PRIMARY KEY (id)
);

-- A request for authorisation, from the redirect to the log-in page until its code has expired.
CREATE TABLE oauth_requests (
    id             TEXT    NOT NULL,
    browser_hash   TEXT    NOT NULL, -- of the cookie of the browser that it belongs to
    client_id      TEXT    NOT NULL REFERENCES oauth_clients (id) ON DELETE CASCADE,
    redirect_uri   TEXT    NOT NULL,
    scopes         TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    nonce          TEXT    NOT NULL,
    code_challenge TEXT    NOT NULL,
    user_id        TEXT    NOT NULL DEFAULT '', -- '': nobody has logged in
    auth_at        INTEGER NOT NULL DEFAULT 0,
    session_id     TEXT    NOT NULL DEFAULT '', -- that the code gives
    code_hash      TEXT    NOT NULL DEFAULT '', -- '': no consent yet
    used_at        INTEGER NOT NULL DEFAULT 0,
    expires_at     INTEGER NOT NULL,
    CONSTRAINT oauth_requests_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX oauth_requests_code ON oauth_requests (code_hash) WHERE code_hash <> '';
CREATE INDEX oauth_requests_expiry ON oauth_requests (expires_at);

-- +goose Down
DROP TABLE oauth_requests;
DROP TABLE oauth_clients;
ALTER TABLE sessions DROP COLUMN scopes;
ALTER TABLE sessions DROP COLUMN client_id;
