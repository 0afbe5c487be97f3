-- +goose Up
ALTER TABLE sessions ADD COLUMN client_id text NOT NULL DEFAULT ''; -- the OAuth client that it was given to; '': a log-in through the REST API
ALTER TABLE sessions ADD COLUMN scopes text NOT NULL DEFAULT ''; -- what the user has consented to, separated by spaces

CREATE TABLE oauth_clients (
    id               text   NOT NULL,
    name             text   NOT NULL,
    secret_hash      text   NOT NULL, -- SHA-256, as base64url; '': a public client
    redirect_uris    text   NOT NULL, -- this and the lists below: separated by spaces
    post_logout_uris text   NOT NULL,
    grants           text   NOT NULL,
    scopes           text   NOT NULL,
    roles            text   NOT NULL, -- of the client itself, without a user
    created_at       bigint NOT NULL,
    CONSTRAINT oauth_clients_pkey PRIMARY KEY (id)
);

-- A request for authorisation, from the redirect to the log-in page until its code has expired.
CREATE TABLE oauth_requests (
    id             text   NOT NULL,
    browser_hash   text   NOT NULL, -- of the cookie of the browser that it belongs to
    client_id      text   NOT NULL REFERENCES oauth_clients (id) ON DELETE CASCADE,
    redirect_uri   text   NOT NULL,
    scopes         text   NOT NULL,
    state          text   NOT NULL,
    nonce          text   NOT NULL,
    code_challenge text   NOT NULL,
    user_id        text   NOT NULL DEFAULT '', -- '': nobody has logged in
    auth_at        bigint NOT NULL DEFAULT 0,
    session_id     text   NOT NULL DEFAULT '', -- that the code gives
    code_hash      text   NOT NULL DEFAULT '', -- '': no consent yet
    used_at        bigint NOT NULL DEFAULT 0,
    expires_at     bigint NOT NULL,
    CONSTRAINT oauth_requests_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX oauth_requests_code ON oauth_requests (code_hash) WHERE code_hash <> '';
CREATE INDEX oauth_requests_expiry ON oauth_requests (expires_at);

-- +goose Down
DROP TABLE oauth_requests;
DROP TABLE oauth_clients;
ALTER TABLE sessions DROP COLUMN scopes;
ALTER TABLE sessions DROP COLUMN client_id;
