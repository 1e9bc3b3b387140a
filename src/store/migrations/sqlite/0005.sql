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
    created_at  INTEGER NOT NULL
) WITHOUT ROWID;

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
    at        INTEGER NOT NULL,
    PRIMARY KEY (structure, backend)
) WITHOUT ROWID;

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
