-- Who may call over the network: `hash` is the token's, which is kept nowhere; `body` says what it opens.
CREATE TABLE token (
    name    TEXT PRIMARY KEY,
    hash    BLOB NOT NULL UNIQUE,
    body    BLOB NOT NULL,
    sum     BLOB NOT NULL,
    -- Roughly: it is not written with each call.
    used_at INTEGER
) STRICT, WITHOUT ROWID;
