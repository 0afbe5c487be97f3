-- +goose Up
-- Access tokens that the module no longer accepts. A row matters until until_at, when the last of them has expired.
CREATE TABLE revocations (
    seq               INTEGER PRIMARY KEY AUTOINCREMENT,
    subject           TEXT    NOT NULL,
    session           TEXT    NOT NULL, -- '': all sessions of the subject
    before_generation INTEGER NOT NULL, -- of the subject; matters without a session
    until_at          INTEGER NOT NULL
);
CREATE INDEX revocations_until ON revocations (until_at);

-- +goose Down
DROP TABLE revocations;
