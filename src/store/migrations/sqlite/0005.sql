-- One queue over many backends: which jobs are alike, what the backends are, and how long graphs run there.

-- The structure hashes of a job's graphs, one for each variant, with a space between; empty where it is not known.
ALTER TABLE job ADD COLUMN structures TEXT NOT NULL DEFAULT '';
-- What it wishes of a backend, as JSON; empty for nothing.
ALTER TABLE job ADD COLUMN placement TEXT NOT NULL DEFAULT '';
-- Which of its variants the current run is of, from 0.
ALTER TABLE job ADD COLUMN variant INTEGER NOT NULL DEFAULT 0;

-- The backends that were added while the gateway ran, and what an operator said of the others.
CREATE TABLE backend (
    name        TEXT PRIMARY KEY,
    -- As JSON; NULL for one of the settings.
    definition  TEXT,
    is_draining INTEGER NOT NULL DEFAULT 0 CHECK (is_draining IN (0, 1)),
    -- It was taken back and goes: once its runs have ended, or at once. Empty while it stays.
    leaving     TEXT NOT NULL DEFAULT '' CHECK (leaving IN ('', 'drained', 'now')),
    -- Why one that was added cannot be begun, as the gateway found last; empty where it can.
    trouble     TEXT NOT NULL DEFAULT '',
    created_at  INTEGER NOT NULL
) WITHOUT ROWID;

-- A backend may refuse one variant of a job and run another.
ALTER TABLE unfit RENAME TO unfit_before;
CREATE TABLE unfit (
    job     INTEGER NOT NULL REFERENCES job (row) ON DELETE CASCADE,
    backend TEXT NOT NULL,
    variant INTEGER NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (job, backend, variant)
) WITHOUT ROWID;
INSERT INTO unfit SELECT job, backend, 0, reason FROM unfit_before;
DROP TABLE unfit_before;

-- What an operator has switched, such as the pause of the queue.
CREATE TABLE switch (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The backends that lack something of a graph, as they said themselves; forgotten when what they have changes.
CREATE TABLE incapable (
    structure TEXT NOT NULL,
    backend   TEXT NOT NULL,
    reason    TEXT NOT NULL,
    -- A hash over what the backend had of all that such graphs need; empty where that was not known.
    share     TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (structure, backend)
) WITHOUT ROWID;

-- The kinds of jobs that wait: those that need and wish the same.
CREATE INDEX job_kind ON job (structures, placement) WHERE state = 'queued';

-- How long runs took, as rolling means in milliseconds: of runs after another graph, and of runs after the same one.
CREATE TABLE estimate (
    structure TEXT NOT NULL,
    backend   TEXT NOT NULL,
    cold_ms   REAL,
    warm_ms   REAL,
    runs      INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (structure, backend)
) WITHOUT ROWID;

-- The order in which jobs came to wait, new ones and those that wait again, so that who looks anew asks only for those that came since.
ALTER TABLE job ADD COLUMN queued_as INTEGER NOT NULL DEFAULT 0;
UPDATE job SET queued_as = row WHERE state = 'queued';
-- Who goes next is decided in memory, so nothing is ordered by tenant and priority any more.
DROP INDEX job_queued;
CREATE INDEX job_waiting ON job (queued_as) WHERE state = 'queued' AND cancel_requested = 0;
CREATE INDEX job_to_cancel ON job (cancel_requested) WHERE state = 'queued' AND cancel_requested = 1;
-- With the tenant, so that the jobs of each that wait are counted by the index alone.
DROP INDEX job_overdue;
CREATE INDEX job_overdue ON job (queue_deadline, tenant) WHERE state = 'queued';

-- How the last run of a job that has ended went, as JSON; absent where none had begun.
CREATE TABLE profile (
    job     INTEGER PRIMARY KEY REFERENCES job (row) ON DELETE CASCADE,
    profile TEXT NOT NULL
);
