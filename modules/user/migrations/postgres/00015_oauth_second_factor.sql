-- +goose Up
ALTER TABLE oauth_requests ADD COLUMN second_factor boolean NOT NULL DEFAULT false; -- the user has shown one, for the claim amr

-- +goose Down
ALTER TABLE oauth_requests DROP COLUMN second_factor;
