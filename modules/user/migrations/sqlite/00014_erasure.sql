-- +goose Up
-- What is left of a user who has deleted their account: a row that no person belongs to, under an id of its own, for the ledger.
ALTER TABLE users ADD COLUMN erased_at INTEGER NOT NULL DEFAULT 0;

-- An entry can change hands, to such a row, and then has no note; its amounts stay what they were.
DROP TRIGGER ledger_entries_no_update;
-- +goose StatementBegin
CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries
WHEN NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.amount <> OLD.amount OR NEW.currency <> OLD.currency OR NEW.note <> ''
    OR NEW.reservation_key IS NOT OLD.reservation_key OR NEW.created_at <> OLD.created_at
    OR NOT EXISTS (SELECT 1 FROM users WHERE id = NEW.user_id AND erased_at <> 0)
BEGIN
    SELECT RAISE(ABORT, 'ledger_entries is append-only');
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER ledger_entries_no_update;
-- +goose StatementBegin
CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger_entries is append-only');
END;
-- +goose StatementEnd
ALTER TABLE users DROP COLUMN erased_at;
