-- +goose Up
-- The address that a user wants to have instead, until they have shown to read its mails; several may want the same one.
ALTER TABLE users ADD COLUMN pending_email text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE users DROP COLUMN pending_email;
