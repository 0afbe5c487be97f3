-- +goose Up
ALTER TABLE signing_keys ADD COLUMN public_key bytea NOT NULL DEFAULT ''; -- PKIX; empty until the first start of this release
ALTER TABLE signing_keys ADD COLUMN sealed_by text NOT NULL DEFAULT ''; -- what private_key is encrypted with; '': it is not
ALTER TABLE signing_keys ADD COLUMN activates_at bigint NOT NULL DEFAULT 0; -- when it begins to sign; 0: it is the next one
UPDATE signing_keys SET activates_at = created_at;

-- +goose Down
ALTER TABLE signing_keys DROP COLUMN activates_at;
ALTER TABLE signing_keys DROP COLUMN sealed_by;
ALTER TABLE signing_keys DROP COLUMN public_key;
