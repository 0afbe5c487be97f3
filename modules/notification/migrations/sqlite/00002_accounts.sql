-- +goose Up

-- A code that the mail brings, until it has left or was given up, and when the code ends; 0 when there is none.
ALTER TABLE mails ADD COLUMN code TEXT NOT NULL DEFAULT '';
ALTER TABLE mails ADD COLUMN code_expires_at INTEGER NOT NULL DEFAULT 0;

-- Users who have deleted their account, for as long as earlier news of them may arrive.
CREATE TABLE erased_users (
    user_id   TEXT    NOT NULL,
    erased_at INTEGER NOT NULL,
    CONSTRAINT erased_users_pkey PRIMARY KEY (user_id)
);

-- +goose Down
DROP TABLE erased_users;
ALTER TABLE mails DROP COLUMN code_expires_at;
ALTER TABLE mails DROP COLUMN code;
