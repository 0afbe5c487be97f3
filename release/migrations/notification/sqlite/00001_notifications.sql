-- +goose Up

-- One row per user, made by whatever comes first: the user's registration, news for the user, or the user's preferences.
-- email is empty until the address is known. last_seq is the number of the user's newest notification.
CREATE TABLE recipients (
    user_id             TEXT    NOT NULL,
    email               TEXT    NOT NULL DEFAULT '',
    display_name        TEXT    NOT NULL DEFAULT '',
    contact_version     INTEGER NOT NULL DEFAULT -1,
    last_seq            INTEGER NOT NULL DEFAULT 0,
    preferences_version INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT recipients_pkey PRIMARY KEY (user_id)
);

-- The kinds that a user does not want over a channel; all others are wanted.
CREATE TABLE mutes (
    user_id TEXT NOT NULL,
    kind    TEXT NOT NULL,
    channel TEXT NOT NULL,
    CONSTRAINT mutes_pkey PRIMARY KEY (user_id, kind, channel),
    CONSTRAINT mutes_channel_check CHECK (channel IN ('in_app', 'email'))
);

CREATE TABLE notifications (
    id         TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    order_id   TEXT,
    read_at    INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    CONSTRAINT notifications_pkey PRIMARY KEY (id),
    CONSTRAINT notifications_user_id_seq_key UNIQUE (user_id, seq)
);
CREATE INDEX notifications_unread ON notifications (user_id, seq) WHERE read_at = 0;

-- What a mail tells. It is put into words when it is sent, and goes to the address that the user has then.
CREATE TABLE mails (
    id         TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    number     TEXT    NOT NULL DEFAULT '',
    reason     TEXT    NOT NULL DEFAULT '',
    tracking   TEXT    NOT NULL DEFAULT '',
    state      TEXT    NOT NULL DEFAULT 'queued',
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL,
    cause      TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    sent_at    INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT mails_pkey PRIMARY KEY (id),
    CONSTRAINT mails_state_check CHECK (state IN ('queued', 'sent', 'failed'))
);
CREATE INDEX mails_due ON mails (due_at) WHERE state = 'queued';
CREATE INDEX mails_settled ON mails (created_at) WHERE state <> 'queued';

-- +goose Down
DROP TABLE mails;
DROP TABLE notifications;
DROP TABLE mutes;
DROP TABLE recipients;
