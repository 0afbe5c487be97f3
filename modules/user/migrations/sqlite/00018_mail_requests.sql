-- +goose Up
-- What anyone has asked to be mailed to an address, until a moment later somebody is looked up who has it. Asking is the same write for every address.
CREATE TABLE mail_requests (
    id          TEXT NOT NULL,
    purpose     TEXT NOT NULL,
    email_lower TEXT NOT NULL,
    CONSTRAINT mail_requests_pkey PRIMARY KEY (id),
    CONSTRAINT mail_requests_purpose_check CHECK (purpose IN ('verify_email', 'reset_password'))
);

-- +goose Down
DROP TABLE mail_requests;
