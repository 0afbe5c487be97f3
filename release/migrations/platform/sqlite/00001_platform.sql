-- +goose Up
CREATE TABLE outbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT   NOT NULL,
    type        TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    at          INTEGER NOT NULL,
    traceparent TEXT   NOT NULL DEFAULT '',
    payload     BLOB   NOT NULL
);

CREATE TABLE inbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    subscriber  TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    type        TEXT   NOT NULL,
    source      TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    at          INTEGER NOT NULL,
    traceparent TEXT   NOT NULL DEFAULT '',
    payload     BLOB   NOT NULL,
    state       TEXT   NOT NULL DEFAULT 'pending',
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL DEFAULT 0,
    done_at     INTEGER NOT NULL DEFAULT 0,
    cause       TEXT   NOT NULL DEFAULT '',
    CONSTRAINT inbox_subscriber_id_key UNIQUE (subscriber, id),
    CONSTRAINT inbox_state_check CHECK (state IN ('pending', 'done', 'dead'))
);
CREATE INDEX inbox_pending ON inbox (subscriber, seq) WHERE state = 'pending';
CREATE INDEX inbox_pending_key ON inbox (subscriber, key, seq) WHERE state = 'pending';
CREATE INDEX inbox_done ON inbox (done_at) WHERE state = 'done';

CREATE TABLE sagas (
    name       TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    state      TEXT   NOT NULL DEFAULT 'running',
    step       INTEGER NOT NULL DEFAULT 0,
    data       TEXT   NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL,
    deadline   INTEGER NOT NULL DEFAULT 0,
    owner      TEXT   NOT NULL DEFAULT '',
    cause      TEXT   NOT NULL DEFAULT '',
    traceparent TEXT   NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT sagas_pkey PRIMARY KEY (name, id),
    CONSTRAINT sagas_state_check CHECK (state IN ('running', 'compensating', 'completed', 'compensated', 'compensation_failed'))
);
CREATE INDEX sagas_due ON sagas (due_at) WHERE state IN ('running', 'compensating');

CREATE TABLE idempotency_keys (
    scope       TEXT   NOT NULL,
    key_hash    TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    status      INTEGER NOT NULL,
    answer      BLOB   NOT NULL,
    created_at  INTEGER NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, key_hash)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- Values that every replica of the module must share: made by the first, read by all.
CREATE TABLE secrets (
    name  TEXT NOT NULL,
    value BLOB NOT NULL,
    CONSTRAINT secrets_pkey PRIMARY KEY (name)
);

-- +goose Down
DROP TABLE secrets;
DROP TABLE idempotency_keys;
DROP TABLE sagas;
DROP TABLE inbox;
DROP TABLE outbox;
