-- +goose Up
ALTER TABLE outbox ADD COLUMN causation text NOT NULL DEFAULT '';

-- Events that the pipe refuses for good. They keep their number, so that a retry puts them back in their place.
CREATE TABLE outbox_dead (
    seq         bigint NOT NULL PRIMARY KEY,
    id          text   NOT NULL,
    type        text   NOT NULL,
    key         text   NOT NULL,
    at          bigint NOT NULL,
    traceparent text   NOT NULL,
    causation   text   NOT NULL,
    payload     bytea  NOT NULL,
    attempts    integer NOT NULL,
    cause       text   NOT NULL,
    dead_at     bigint NOT NULL
);
CREATE INDEX outbox_dead_age ON outbox_dead (dead_at);

-- Events that left the outbox, in the order in which they did, for subscribers that come later.
CREATE TABLE event_history (
    pos         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          text   NOT NULL,
    type        text   NOT NULL,
    key         text   NOT NULL,
    at          bigint NOT NULL,
    traceparent text   NOT NULL,
    causation   text   NOT NULL,
    payload     bytea  NOT NULL,
    kept_at     bigint NOT NULL
);

ALTER TABLE inbox ADD COLUMN causation text NOT NULL DEFAULT '';
ALTER TABLE inbox ADD COLUMN stack text NOT NULL DEFAULT '';
ALTER TABLE inbox ADD COLUMN dead_at bigint NOT NULL DEFAULT 0;
CREATE INDEX inbox_dead ON inbox (dead_at) WHERE state = 'dead';

-- Every subscriber that this module has had.
CREATE TABLE event_subscribers (
    name       text   NOT NULL PRIMARY KEY,
    type       text   NOT NULL,
    since      bigint NOT NULL,
    removed_at bigint NOT NULL DEFAULT 0,
    position   bigint NOT NULL DEFAULT 0
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
