-- +goose Up
-- The authenticators (TOTP, RFC 6238).
CREATE TABLE second_factors (
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret       BLOB NOT NULL,
    sealed_by    TEXT NOT NULL, -- what secret is encrypted with; '': it is not
    confirmed_at INTEGER NOT NULL DEFAULT 0, -- 0: it is not in use yet
    last_step    INTEGER NOT NULL DEFAULT 0, -- the time step of the last code that was used
    failures     INTEGER NOT NULL DEFAULT 0, -- wrong codes in a row
    locked_until INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT second_factors_pkey PRIMARY KEY (user_id)
);

CREATE TABLE recovery_codes (
    hash    TEXT NOT NULL, -- SHA-256, as base64url
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (hash)
);
CREATE INDEX recovery_codes_user ON recovery_codes (user_id);

-- Log-ins whose password was right and whose second factor is missing.
CREATE TABLE log_in_challenges (
    hash       TEXT NOT NULL, -- SHA-256, as base64url
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    password   TEXT NOT NULL, -- what the password's hash hashes to: a changed password ends the challenge
    expires_at INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT log_in_challenges_pkey PRIMARY KEY (hash)
);
CREATE INDEX log_in_challenges_user ON log_in_challenges (user_id);
CREATE INDEX log_in_challenges_expiry ON log_in_challenges (expires_at);

-- +goose Down
DROP TABLE log_in_challenges;
DROP TABLE recovery_codes;
DROP TABLE second_factors;
