-- +goose Up
-- The subscribers that have not taken an event which all others have: |a|b|; '' while it is nobody's yet.
ALTER TABLE outbox ADD COLUMN owed_to TEXT NOT NULL DEFAULT '';
CREATE INDEX outbox_owed ON outbox (seq) WHERE owed_to <> '';

-- +goose Down
DROP INDEX outbox_owed;
ALTER TABLE outbox DROP COLUMN owed_to;
