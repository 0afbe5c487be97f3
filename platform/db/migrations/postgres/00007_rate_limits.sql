-- +goose Up
-- Counts of at most a minute: nothing is lost that a crash of the server would lose.
CREATE UNLOGGED TABLE rate_limits (
    key   text   PRIMARY KEY,
    count bigint NOT NULL,
    until bigint NOT NULL -- Unix time
);
CREATE INDEX rate_limits_until ON rate_limits (until);

-- +goose Down
DROP TABLE rate_limits;
