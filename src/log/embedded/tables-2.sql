-- Notifications that are not worked off yet. `thing` is an id at Mercado Pago, `reference` one that our own seal vouched for.
CREATE TABLE inbox (
    id        INTEGER PRIMARY KEY,
    account   TEXT NOT NULL,
    topic     TEXT NOT NULL,
    thing     TEXT NOT NULL,
    reference TEXT,
    signature TEXT NOT NULL,
    at        INTEGER NOT NULL
) STRICT;

-- Orders for which something is yet to be done at Mercado Pago.
ALTER TABLE orders ADD COLUMN work INTEGER NOT NULL DEFAULT 0;
CREATE INDEX orders_work ON orders (id) WHERE work = 1;
