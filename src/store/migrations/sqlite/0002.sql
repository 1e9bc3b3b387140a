-- A delivery can be sent again by hand, old jobs can be cleared away, and a backend's refusal of a graph is remembered.

-- The backends that cannot run a job, and why: its later runs go elsewhere.
CREATE TABLE unfit (
    job     INTEGER NOT NULL REFERENCES job (row) ON DELETE CASCADE,
    backend TEXT NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (job, backend)
) WITHOUT ROWID;

-- A replay takes the schedule from its beginning, while attempts go on being numbered: these were made before it.
ALTER TABLE delivery ADD COLUMN attempts_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN replayed_at INTEGER;
-- When it arrived or was given up; NULL while it is pending, and where an older comfygate ended it.
ALTER TABLE delivery ADD COLUMN ended_at INTEGER;
-- For lists of what did not arrive, newest job first.
CREATE INDEX delivery_failed ON delivery (state, job) WHERE state IN ('gone', 'undeliverable');

-- For the clearing of what is old, and of blobs that nobody names any more.
CREATE INDEX job_by_end ON job (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX output_by_blob ON output (sha256);
