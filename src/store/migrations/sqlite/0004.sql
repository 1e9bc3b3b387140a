-- Callers upload images, and jobs work on images.

-- Each tenant's own: the same bytes of two tenants are two uploads with two ids, and one blob.
CREATE TABLE upload (
    id           TEXT PRIMARY KEY,
    tenant       TEXT NOT NULL,
    sha256       TEXT NOT NULL CHECK (length(sha256) = 64),
    bytes        INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    width        INTEGER NOT NULL,
    height       INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) WITHOUT ROWID;
-- With the rest of what a tenant's space is summed up from.
CREATE UNIQUE INDEX upload_by_tenant ON upload (tenant, sha256, bytes, expires_at);
CREATE INDEX upload_by_blob ON upload (sha256);
CREATE INDEX upload_expiry ON upload (expires_at);

-- The blobs that a job's input images need, as its request names them; they stay as long as the job.
CREATE TABLE input (
    job    INTEGER NOT NULL REFERENCES job (row) ON DELETE CASCADE,
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    bytes  INTEGER NOT NULL,
    PRIMARY KEY (job, sha256)
) WITHOUT ROWID;
CREATE INDEX input_by_blob ON input (sha256);
