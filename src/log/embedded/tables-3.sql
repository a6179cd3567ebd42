-- Tables follow the entries now, some time after them: `tables_seq` in `meta` is the newest entry that they have taken up.
INSERT INTO meta (key, value) SELECT 'tables_seq', coalesce(max(seq), 0) FROM entry;

-- A POS's entries. An index of `entry` would have to be written with each.
CREATE TABLE entry_of (
    pos TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (pos, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO entry_of (pos, seq) SELECT pos, seq FROM entry ORDER BY pos, seq;
DROP INDEX entry_pos;

-- The entry that changed an order last: what is older has been taken up.
ALTER TABLE orders ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
-- `created_at` grows with `id`, so it needs no index.
DROP INDEX orders_created;
