CREATE TABLE entry (
    seq  INTEGER PRIMARY KEY,
    pos  TEXT NOT NULL,
    rev  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    body BLOB NOT NULL,
    prev BLOB NOT NULL,
    sum  BLOB NOT NULL
) STRICT;
-- Within one POS it is in the order of `seq`, as every index of a table with a whole-number key is.
CREATE INDEX entry_pos ON entry (pos);

-- Each POS's newest entry, and the poll keys that are its own.
CREATE TABLE head (
    pos  TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL,
    keys TEXT UNIQUE
) STRICT, WITHOUT ROWID;

-- The checksum that the oldest kept entry of a POS follows, where earlier ones were trimmed.
CREATE TABLE anchor (
    pos  TEXT PRIMARY KEY,
    rev  INTEGER NOT NULL,
    sum  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A heartbeat: the newest one is all that counts.
CREATE TABLE lease (
    pos   TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each order as it stands. `reference` is folded to lower case.
CREATE TABLE orders (
    id         INTEGER PRIMARY KEY,
    reference  TEXT NOT NULL UNIQUE,
    pos        TEXT NOT NULL,
    status     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,
    body       BLOB NOT NULL,
    sum        BLOB NOT NULL
) STRICT;
CREATE INDEX orders_pos ON orders (pos, id);
CREATE INDEX orders_status ON orders (status, id);
CREATE INDEX orders_created ON orders (created_at);

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
