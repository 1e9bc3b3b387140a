-- What SQLite keeps. Times are milliseconds since 1970. Rows that are updated often are small: the request and the
-- frozen body, which never change, live in tables of their own. Indexes that every job passes through cover live rows
-- only, so that a long past costs nothing.

CREATE TABLE job (
    row              INTEGER PRIMARY KEY,
    id               BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    tenant           TEXT NOT NULL DEFAULT '',
    workflow         TEXT NOT NULL,
    state            TEXT NOT NULL DEFAULT 'queued'
                     CHECK (state IN ('queued', 'submitted', 'running', 'succeeded', 'failed', 'cancelled')),
    priority         INTEGER NOT NULL,
    run_number       INTEGER NOT NULL DEFAULT 0,
    tries            INTEGER NOT NULL DEFAULT 0,
    backend          TEXT,
    prompt_id        TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    created_at       INTEGER NOT NULL,
    queue_limit      INTEGER NOT NULL,
    queue_deadline   INTEGER NOT NULL,
    submitted_at     INTEGER,
    started_at       INTEGER,
    ended_at         INTEGER,
    code             TEXT,
    error            TEXT,
    -- For an engine that several gateways share; this one holds a lock on the folder instead.
    lease_owner      TEXT,
    lease_until      INTEGER,
    epoch            INTEGER NOT NULL DEFAULT 0,
    CHECK ((ended_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled'))),
    CHECK (state NOT IN ('submitted', 'running') OR (backend IS NOT NULL AND prompt_id IS NOT NULL AND run_number > 0))
);

-- In this order jobs are claimed: priority, then acceptance (the row number, which every index ends with).
CREATE INDEX job_queued ON job (cancel_requested, priority DESC) WHERE state = 'queued';
CREATE INDEX job_overdue ON job (queue_deadline) WHERE state = 'queued';
CREATE INDEX job_on_backend ON job (backend) WHERE state IN ('submitted', 'running');
-- For lists of one final state; written once, when a job ends.
CREATE INDEX job_ended ON job (state, id) WHERE ended_at IS NOT NULL;

CREATE TRIGGER job_end_is_final BEFORE UPDATE OF id, state, ended_at, code, error, run_number, backend, prompt_id ON job
WHEN OLD.ended_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a job that has ended never changes');
END;

CREATE TABLE job_request (
    job     INTEGER PRIMARY KEY REFERENCES job (row) ON DELETE CASCADE,
    request TEXT NOT NULL
);

CREATE TABLE revision (
    hash     TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    config   TEXT NOT NULL,
    template TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE idempotency (
    tenant      TEXT NOT NULL DEFAULT '',
    key         TEXT NOT NULL,
    body_sha256 BLOB NOT NULL CHECK (length(body_sha256) = 32),
    job         BLOB NOT NULL CHECK (length(job) = 16),
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

CREATE TABLE output (
    job          INTEGER NOT NULL REFERENCES job (row) ON DELETE CASCADE,
    place        INTEGER NOT NULL,
    node_id      TEXT NOT NULL,
    node_index   INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    filename     TEXT,
    bytes        INTEGER NOT NULL,
    sha256       TEXT NOT NULL CHECK (length(sha256) = 64),
    PRIMARY KEY (job, place)
) WITHOUT ROWID;

CREATE TABLE result (
    job  INTEGER PRIMARY KEY REFERENCES job (row) ON DELETE CASCADE,
    body TEXT NOT NULL
);

CREATE TABLE delivery (
    job         INTEGER PRIMARY KEY REFERENCES job (row) ON DELETE CASCADE,
    url         TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'gone', 'undeliverable')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    lease_owner TEXT,
    lease_until INTEGER NOT NULL DEFAULT 0,
    epoch       INTEGER NOT NULL DEFAULT 0,
    -- When it may be handed out: a leased delivery waits for the end of its lease.
    next_at     INTEGER NOT NULL GENERATED ALWAYS AS (max(due_at, lease_until)) VIRTUAL
);
CREATE INDEX delivery_due ON delivery (next_at) WHERE state = 'pending';

CREATE TABLE attempt (
    job        INTEGER NOT NULL REFERENCES delivery (job) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    took_us    INTEGER NOT NULL,
    status     INTEGER,
    code       TEXT,
    snippet    TEXT NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;
