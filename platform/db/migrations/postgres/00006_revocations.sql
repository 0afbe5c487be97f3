-- +goose Up
-- Access tokens that the module no longer accepts. A row matters until until_at, when the last of them has expired.
CREATE TABLE revocations (
    seq               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject           text   NOT NULL,
    session           text   NOT NULL, -- '': all sessions of the subject
    before_generation bigint NOT NULL, -- of the subject; matters without a session
    until_at          bigint NOT NULL
);
CREATE INDEX revocations_until ON revocations (until_at);

-- +goose Down
DROP TABLE revocations;
