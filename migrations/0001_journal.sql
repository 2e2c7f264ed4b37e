-- The searchable copy of what the account objects decide, and the directory of accounts.
-- A table with a text key and WITHOUT ROWID costs one row written; every index would cost one more, so there are none.

CREATE TABLE journal (
  account  TEXT NOT NULL,
  seq      INTEGER NOT NULL,          -- numbered from 1 in each account, without a gap
  at       INTEGER NOT NULL,          -- milliseconds since 1970
  kind     TEXT NOT NULL,             -- receipt, adjustment, account, project, key
  subject  TEXT,                      -- the request or the adjustment
  key      TEXT,
  bucket   TEXT,
  amount   INTEGER,                   -- nano-units, signed; null where no balance changed
  balances TEXT NOT NULL,             -- every balance after this row, as JSON of decimal strings
  doc      TEXT NOT NULL,             -- the receipt or record, as JSON
  PRIMARY KEY (account, seq)
) WITHOUT ROWID;

CREATE VIEW receipts AS
  SELECT account, seq, at, subject AS id, key, bucket, amount, doc FROM journal WHERE kind = 'receipt';

CREATE VIEW ledger AS
  SELECT account, seq, at, kind, subject, key, bucket, amount, balances FROM journal WHERE amount IS NOT NULL;

CREATE TABLE accounts (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  created_at TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE projects (
  account TEXT NOT NULL,
  id      TEXT NOT NULL,
  name    TEXT NOT NULL,
  doc     TEXT NOT NULL,
  PRIMARY KEY (account, id)
) WITHOUT ROWID;

-- Keys by the hash of their secret, so that a key can be found when KV does not answer. The record holds no secret.
CREATE TABLE keys (
  hash       TEXT PRIMARY KEY,
  id         TEXT NOT NULL,
  account    TEXT NOT NULL,
  label      TEXT NOT NULL,
  revoked_at TEXT,
  doc        TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE catalog_versions (
  version      INTEGER PRIMARY KEY,
  published_at INTEGER NOT NULL,
  document     TEXT NOT NULL
);

CREATE TABLE probes (
  channel    TEXT NOT NULL,
  at         INTEGER NOT NULL,
  ok         INTEGER NOT NULL,
  latency_ms INTEGER NOT NULL,
  failure    TEXT,
  PRIMARY KEY (channel, at)
) WITHOUT ROWID;
