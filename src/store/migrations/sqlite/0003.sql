-- Callers have keys and belong to tenants; webhooks are signed.

CREATE TABLE api_key (
    -- Not secret: it names the key in lists and logs.
    id           TEXT PRIMARY KEY,
    tenant       TEXT NOT NULL,
    name         TEXT NOT NULL,
    -- Of the whole key, which is nowhere.
    sha256       BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
    -- Words with a space between: submit, read, admin.
    scopes       TEXT NOT NULL,
    -- As JSON; empty for what the settings say.
    limits       TEXT NOT NULL DEFAULT '{}',
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER
) WITHOUT ROWID;

-- What webhooks are signed with: for all receivers of a tenant where the host is empty, else for one host.
CREATE TABLE signing_secret (
    id         TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL,
    host       TEXT NOT NULL DEFAULT '',
    kind       TEXT NOT NULL CHECK (kind IN ('hmac', 'ed25519')),
    secret     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    -- When it signs no more; NULL for the newest.
    expires_at INTEGER
) WITHOUT ROWID;
CREATE INDEX signing_secret_by_tenant ON signing_secret (tenant, host);

-- What the gateway drew for itself at its first start.
CREATE TABLE own_secret (
    name       TEXT PRIMARY KEY,
    secret     BLOB NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Each tenant has a queue of its own, in the order of priority and then of acceptance.
DROP INDEX job_queued;
CREATE INDEX job_queued ON job (cancel_requested, tenant, priority DESC) WHERE state = 'queued';
-- Lists show the newest rows first, whatever the ids are; every index ends with the row's number.
CREATE INDEX job_by_tenant ON job (tenant);
DROP INDEX job_ended;
CREATE INDEX job_ended ON job (state) WHERE ended_at IS NOT NULL;
-- So does each tenant's queue of deliveries. What is there already is the default tenant's.
ALTER TABLE delivery ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery (tenant, next_at) WHERE state = 'pending';
-- Where it was asked for: whether nothing but the content is in the file.
ALTER TABLE output ADD COLUMN metadata_stripped INTEGER;
