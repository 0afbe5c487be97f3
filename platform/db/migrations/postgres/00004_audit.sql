-- +goose Up
CREATE TABLE audit (
    seq        bigint NOT NULL,
    at         bigint NOT NULL,
    issuer     text   NOT NULL,
    subject    text   NOT NULL,
    action     text   NOT NULL,
    object     text   NOT NULL,
    address    text   NOT NULL DEFAULT '',
    request_id text   NOT NULL DEFAULT '',
    trace_id   text   NOT NULL DEFAULT '',
    detail     text   NOT NULL DEFAULT '',
    hash       bytea  NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (seq)
);

-- The last entry, which is also the lock that makes entries follow one another.
CREATE TABLE audit_head (
    id   integer NOT NULL DEFAULT 1,
    seq  bigint  NOT NULL,
    hash bytea   NOT NULL,
    CONSTRAINT audit_head_pkey PRIMARY KEY (id),
    CONSTRAINT audit_head_id_check CHECK (id = 1)
);
INSERT INTO audit_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- +goose StatementBegin
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION audit_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq <> OLD.seq + 1 THEN
        RAISE EXCEPTION 'the audit log moves forward by one entry at a time' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_head_stays BEFORE DELETE OR TRUNCATE ON audit_head FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head FOR EACH ROW EXECUTE FUNCTION audit_forward();

-- +goose Down
DROP TABLE audit_head;
DROP TABLE audit;
DROP FUNCTION audit_forward;
DROP FUNCTION audit_refuse;
