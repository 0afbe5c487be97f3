-- +goose Up
ALTER TABLE users ADD COLUMN email_verified_at bigint NOT NULL DEFAULT 0; -- 0: it is not verified

ALTER TABLE sessions ADD COLUMN last_used_at bigint NOT NULL DEFAULT 0; -- of its refresh token; 0: not since it began
ALTER TABLE sessions ADD COLUMN user_agent text NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN address text NOT NULL DEFAULT '';

-- What was mailed to prove who reads an address. A row goes away with its use. Those without a user are written when a mail is asked
-- for an address that nobody has, so that both cases take the same work.
CREATE TABLE mail_tokens (
    hash        text    NOT NULL, -- SHA-256, as base64url
    purpose     text    NOT NULL,
    user_id     uuid    REFERENCES users (id) ON DELETE CASCADE,
    email_lower text    NOT NULL, -- it proves nothing about a later address
    expires_at  bigint  NOT NULL,
    CONSTRAINT mail_tokens_pkey PRIMARY KEY (hash),
    CONSTRAINT mail_tokens_purpose_check CHECK (purpose IN ('verify_email', 'reset_password'))
);
CREATE INDEX mail_tokens_user ON mail_tokens (user_id);
CREATE INDEX mail_tokens_expiry ON mail_tokens (expires_at);

-- +goose Down
DROP TABLE mail_tokens;
ALTER TABLE sessions DROP COLUMN address;
ALTER TABLE sessions DROP COLUMN user_agent;
ALTER TABLE sessions DROP COLUMN last_used_at;
ALTER TABLE users DROP COLUMN email_verified_at;
