-- +goose Up

-- Where a mail goes that is not for the address that the user has then; '' for all others.
ALTER TABLE mails ADD COLUMN address text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE mails DROP COLUMN address;
