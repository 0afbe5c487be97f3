-- +goose Up
CREATE TABLE api_keys (
    id           uuid NOT NULL, -- also the session of the access tokens that it is traded for
    user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash         text NOT NULL, -- SHA-256, as base64url
    name         text NOT NULL,
    prefix       text NOT NULL,
    scopes       text NOT NULL, -- with a space between them
    created_at   bigint NOT NULL,
    expires_at   bigint NOT NULL,
    last_used_at bigint NOT NULL DEFAULT 0,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_hash_key UNIQUE (hash)
);
CREATE INDEX api_keys_user ON api_keys (user_id, created_at);

-- +goose Down
DROP TABLE api_keys;
