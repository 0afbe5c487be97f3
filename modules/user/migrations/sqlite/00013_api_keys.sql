-- +goose Up
CREATE TABLE api_keys (
    id           TEXT NOT NULL, -- also the session of the access tokens that it is traded for
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash         TEXT NOT NULL, -- SHA-256, as base64url
    name         TEXT NOT NULL,
    prefix       TEXT NOT NULL,
    scopes       TEXT NOT NULL, -- with a space between them
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_hash_key UNIQUE (hash)
);
CREATE INDEX api_keys_user ON api_keys (user_id, created_at);

-- +goose Down
DROP TABLE api_keys;
