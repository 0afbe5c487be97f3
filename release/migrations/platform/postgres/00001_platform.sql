-- +goose Up
CREATE TABLE outbox (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          text   NOT NULL,
    type        text   NOT NULL,
    key         text   NOT NULL,
    at          bigint NOT NULL,
    traceparent text   NOT NULL DEFAULT '',
    payload     bytea  NOT NULL
);

CREATE TABLE inbox (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscriber  text   NOT NULL,
    id          text   NOT NULL,
    type        text   NOT NULL,
    source      text   NOT NULL,
    key         text   NOT NULL,
    at          bigint NOT NULL,
    traceparent text   NOT NULL DEFAULT '',
    payload     bytea  NOT NULL,
    state       text   NOT NULL DEFAULT 'pending',
    attempts    integer NOT NULL DEFAULT 0,
    due_at      bigint NOT NULL DEFAULT 0,
    done_at     bigint NOT NULL DEFAULT 0,
    cause       text   NOT NULL DEFAULT '',
    CONSTRAINT inbox_subscriber_id_key UNIQUE (subscriber, id),
    CONSTRAINT inbox_state_check CHECK (state IN ('pending', 'done', 'dead'))
);
CREATE INDEX inbox_pending ON inbox (subscriber, seq) WHERE state = 'pending';
CREATE INDEX inbox_pending_key ON inbox (subscriber, key, seq) WHERE state = 'pending';
CREATE INDEX inbox_done ON inbox (done_at) WHERE state = 'done';

CREATE TABLE sagas (
    name       text   NOT NULL,
    id         text   NOT NULL,
    state      text   NOT NULL DEFAULT 'running',
    step       integer NOT NULL DEFAULT 0,
    data       text   NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    due_at     bigint NOT NULL,
    deadline   bigint NOT NULL DEFAULT 0,
    owner      text   NOT NULL DEFAULT '',
    cause      text   NOT NULL DEFAULT '',
    traceparent text   NOT NULL DEFAULT '',
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT sagas_pkey PRIMARY KEY (name, id),
    CONSTRAINT sagas_state_check CHECK (state IN ('running', 'compensating', 'completed', 'compensated', 'compensation_failed'))
);
CREATE INDEX sagas_due ON sagas (due_at) WHERE state IN ('running', 'compensating');

CREATE TABLE idempotency_keys (
    scope       text   NOT NULL,
    key_hash    text   NOT NULL,
    fingerprint text   NOT NULL,
    status      integer NOT NULL,
    answer      bytea  NOT NULL,
    created_at  bigint NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, key_hash)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- Values that every replica of the module must share: made by the first, read by all.
CREATE TABLE secrets (
    name  text NOT NULL,
    value bytea NOT NULL,
    CONSTRAINT secrets_pkey PRIMARY KEY (name)
);

-- +goose Down
DROP TABLE secrets;
DROP TABLE idempotency_keys;
DROP TABLE sagas;
DROP TABLE inbox;
DROP TABLE outbox;
