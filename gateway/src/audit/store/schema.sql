-- The log itself: one row an incarnation; the newest has the highest log_id.
CREATE TABLE log (
    log_id      INTEGER PRIMARY KEY,
    origin      TEXT NOT NULL UNIQUE,
    created     INTEGER NOT NULL,            -- microseconds since 1970
    closed_at   INTEGER,
    prev_origin TEXT,
    prev_size   INTEGER
) STRICT;

-- Keys that sign it.
CREATE TABLE log_key (
    log_id     INTEGER NOT NULL REFERENCES log,
    vkey       TEXT NOT NULL,                -- C2SP signed-note
    sig_type   INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    not_after  INTEGER,
    PRIMARY KEY (log_id, vkey)
) STRICT, WITHOUT ROWID;

-- The fence: read and advanced inside each batch's transaction.
CREATE TABLE tree (
    log_id    INTEGER PRIMARY KEY REFERENCES log,
    size      INTEGER NOT NULL CHECK (size >= 0),
    root      BLOB NOT NULL CHECK (length(root) = 32),
    min_index INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Indices are dense from 0.
CREATE TABLE leaf (
    log_id INTEGER NOT NULL REFERENCES log,
    idx    INTEGER NOT NULL CHECK (idx >= 0),
    id     BLOB NOT NULL CHECK (length(id) = 16),
    leaf   BLOB NOT NULL CHECK (length(leaf) = 32),
    PRIMARY KEY (log_id, idx)
) STRICT, WITHOUT ROWID;

-- Full tiles only. `hash` is the root over `data`; it stands in front so that it is read without the 8 kB behind it.
CREATE TABLE tile (
    log_id INTEGER NOT NULL REFERENCES log,
    level  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    hash   BLOB NOT NULL CHECK (length(hash) = 32),
    data   BLOB NOT NULL CHECK (length(data) = 8192),
    PRIMARY KEY (log_id, level, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
    log_id    INTEGER NOT NULL REFERENCES log,
    size      INTEGER NOT NULL,
    note      TEXT NOT NULL,                 -- signed by the log
    cosigs    TEXT NOT NULL DEFAULT '',      -- signature lines of witnesses
    signed_at INTEGER NOT NULL,
    PRIMARY KEY (log_id, size)
) STRICT, WITHOUT ROWID;

-- One row an entry, decisions and events alike.
CREATE TABLE decision (
    seq           INTEGER PRIMARY KEY,
    id            BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    log_id        INTEGER NOT NULL,
    idx           INTEGER NOT NULL,
    ts            INTEGER NOT NULL,
    kind          TEXT NOT NULL,
    tenant        TEXT,
    verdict       TEXT,
    artifact      BLOB,
    policy_digest BLOB,
    entry         BLOB NOT NULL,
    body          BLOB NOT NULL
) STRICT;
CREATE INDEX decision_artifact ON decision (artifact, idx) WHERE artifact IS NOT NULL;
CREATE INDEX decision_refused ON decision (idx) WHERE verdict = 'refuse';

-- Deleting a row redacts the field.
CREATE TABLE disclosure (
    id    BLOB NOT NULL,
    ptr   TEXT NOT NULL,
    salt  BLOB NOT NULL CHECK (length(salt) = 16),
    value BLOB NOT NULL,                     -- canonical JSON
    PRIMARY KEY (id, ptr)
) STRICT, WITHOUT ROWID;

-- These raise the bar; the evidence is the tree.
CREATE TRIGGER decision_update BEFORE UPDATE ON decision BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER decision_delete BEFORE DELETE ON decision BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER leaf_update BEFORE UPDATE ON leaf BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER leaf_delete BEFORE DELETE ON leaf BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER tile_update BEFORE UPDATE ON tile BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER tile_delete BEFORE DELETE ON tile BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER checkpoint_update BEFORE UPDATE OF log_id, size, note, signed_at ON checkpoint
    BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER checkpoint_delete BEFORE DELETE ON checkpoint BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
