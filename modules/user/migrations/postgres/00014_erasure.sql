-- +goose Up
-- What is left of a user who has deleted their account: a row that no person belongs to, under an id of its own, for the ledger.
ALTER TABLE users ADD COLUMN erased_at bigint NOT NULL DEFAULT 0;

-- An entry can change hands, to such a row, and then has no note; its amounts stay what they were.
-- +goose StatementBegin
CREATE FUNCTION ledger_entry_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.kind, NEW.amount, NEW.currency, NEW.note, NEW.reservation_key, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.kind, OLD.amount, OLD.currency, '', OLD.reservation_key, OLD.created_at)
        OR NOT EXISTS (SELECT 1 FROM users WHERE id = NEW.user_id AND erased_at <> 0) THEN
        RAISE EXCEPTION 'ledger_entries is append-only' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
DROP TRIGGER ledger_entries_append_only ON ledger_entries;
CREATE TRIGGER ledger_entries_append_only BEFORE DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER ledger_entries_kept BEFORE UPDATE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION ledger_entry_is_kept();

-- +goose Down
DROP TRIGGER ledger_entries_kept ON ledger_entries;
DROP TRIGGER ledger_entries_append_only ON ledger_entries;
CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
DROP FUNCTION ledger_entry_is_kept;
ALTER TABLE users DROP COLUMN erased_at;
