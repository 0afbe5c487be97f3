-- +goose Up
-- What roles may do: the lines of the policy file that the newest binary brought, and what was changed at run time.
CREATE TABLE policies (
    id         text PRIMARY KEY,
    origin     text NOT NULL,
    line       integer NOT NULL, -- in the file; 0 for a row of run time
    role       text NOT NULL,
    permission text NOT NULL,
    scope      text NOT NULL,
    effect     text NOT NULL,
    changed_by text NOT NULL,
    changed_at bigint NOT NULL,
    CONSTRAINT policies_origin_check CHECK (origin IN ('file', 'runtime')),
    CONSTRAINT policies_scope_check CHECK (scope IN ('own', 'any')),
    CONSTRAINT policies_effect_check CHECK (effect IN ('allow', 'deny'))
);
CREATE UNIQUE INDEX policies_rule ON policies (role, permission, scope, effect) WHERE origin = 'runtime';

-- Grows with each change, so that replicas look at one number only.
CREATE TABLE policy_version (
    id      integer NOT NULL DEFAULT 1,
    version bigint NOT NULL,
    file    text NOT NULL, -- a digest of the rows of origin file
    CONSTRAINT policy_version_pkey PRIMARY KEY (id),
    CONSTRAINT policy_version_id_check CHECK (id = 1)
);
INSERT INTO policy_version (version, file) VALUES (0, '');

-- +goose Down
DROP TABLE policy_version;
DROP TABLE policies;
