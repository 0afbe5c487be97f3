-- +goose Up
-- The steps that the saga began with, and what became of them.
ALTER TABLE sagas ADD COLUMN plan text NOT NULL DEFAULT '';
ALTER TABLE sagas ADD COLUMN history text NOT NULL DEFAULT '';
CREATE INDEX sagas_failed ON sagas (name, id) WHERE state = 'compensation_failed';

-- Processes that hold the lock of their name while they live.
CREATE TABLE saga_owners (
    owner text NOT NULL,
    since bigint NOT NULL,
    CONSTRAINT saga_owners_pkey PRIMARY KEY (owner)
);

-- +goose Down
DROP TABLE saga_owners;
DROP INDEX sagas_failed;
ALTER TABLE sagas DROP COLUMN history;
ALTER TABLE sagas DROP COLUMN plan;
