-- +goose Up
ALTER TABLE outbox ADD COLUMN causation TEXT NOT NULL DEFAULT '';

-- Events that the pipe refuses for good. They keep their number, so that a retry puts them back in their place.
CREATE TABLE outbox_dead (
    seq         INTEGER NOT NULL PRIMARY KEY,
    id          TEXT   NOT NULL,
    type        TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    at          INTEGER NOT NULL,
    traceparent TEXT   NOT NULL,
    causation   TEXT   NOT NULL,
    payload     BLOB  NOT NULL,
    attempts    INTEGER NOT NULL,
    cause       TEXT   NOT NULL,
    dead_at     INTEGER NOT NULL
);
CREATE INDEX outbox_dead_age ON outbox_dead (dead_at);

-- Events that left the outbox, in the order in which they did, for subscribers that come later.
CREATE TABLE event_history (
    pos         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT   NOT NULL,
    type        TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    at          INTEGER NOT NULL,
    traceparent TEXT   NOT NULL,
    causation   TEXT   NOT NULL,
    payload     BLOB  NOT NULL,
    kept_at     INTEGER NOT NULL
);

ALTER TABLE inbox ADD COLUMN causation TEXT NOT NULL DEFAULT '';
ALTER TABLE inbox ADD COLUMN stack TEXT NOT NULL DEFAULT '';
ALTER TABLE inbox ADD COLUMN dead_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX inbox_dead ON inbox (dead_at) WHERE state = 'dead';

-- Every subscriber that this module has had.
CREATE TABLE event_subscribers (
    name       TEXT   NOT NULL PRIMARY KEY,
    type       TEXT   NOT NULL,
    since      INTEGER NOT NULL,
    removed_at INTEGER NOT NULL DEFAULT 0,
    position   INTEGER NOT NULL DEFAULT 0
);

-- +goose Down
DROP TABLE event_subscribers;
DROP INDEX inbox_dead;
ALTER TABLE inbox DROP COLUMN dead_at;
ALTER TABLE inbox DROP COLUMN stack;
ALTER TABLE inbox DROP COLUMN causation;
DROP TABLE event_history;
DROP TABLE outbox_dead;
ALTER TABLE outbox DROP COLUMN causation;
