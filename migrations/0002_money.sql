-- Debts, orders, redeem codes, daily sums, batches by time, and how far each account was reconciled.

-- What is owed after a row, as JSON of decimal strings; null where nothing is.
ALTER TABLE journal ADD COLUMN debts TEXT;

-- Which rows arrived together: the way to the newest rows of all accounts without an index on every row.
CREATE TABLE batches (
  at        INTEGER NOT NULL,         -- that of the batch's last row
  account   TEXT NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq  INTEGER NOT NULL,
  records   INTEGER NOT NULL,         -- 1 if there are rows in it that are no receipts
  PRIMARY KEY (at, account, first_seq)
) WITHOUT ROWID;

-- What was used and charged, by day in UTC. Counted with the arrival of the rows, in the same transaction.
CREATE TABLE usage_days (
  day              TEXT NOT NULL,
  account          TEXT NOT NULL,
  project          TEXT NOT NULL,
  key              TEXT NOT NULL,
  model            TEXT NOT NULL,     -- the public name; as asked for where nobody answered
  route            TEXT NOT NULL,     -- empty where nobody answered
  bucket           TEXT NOT NULL,
  cause            TEXT NOT NULL,     -- direct, retry, fallback or correction
  key_label        TEXT NOT NULL,     -- as it was called last
  requests         INTEGER NOT NULL,
  unpaid           INTEGER NOT NULL,  -- requests that cost nothing
  retries          INTEGER NOT NULL,
  fallbacks        INTEGER NOT NULL,
  input_tokens     INTEGER NOT NULL,  -- all that went in
  cached_tokens    INTEGER NOT NULL,  -- of these, read from the provider's cache
  output_tokens    INTEGER NOT NULL,  -- all that came out
  reasoning_tokens INTEGER NOT NULL,  -- of these, spent on reasoning
  charge           INTEGER NOT NULL,  -- nano-units
  input_charge     INTEGER NOT NULL,  -- the part of it that went in
  PRIMARY KEY (day, account, project, key, model, route, bucket, cause)
) WITHOUT ROWID;

CREATE TABLE orders (
  account TEXT NOT NULL,
  id      TEXT NOT NULL,
  seq     INTEGER NOT NULL,           -- the journal row that this is the state of
  state   TEXT NOT NULL,
  payment TEXT,                       -- the provider's payment
  doc     TEXT NOT NULL,
  PRIMARY KEY (account, id)
) WITHOUT ROWID;
CREATE INDEX orders_by_payment ON orders (payment) WHERE payment IS NOT NULL;
CREATE INDEX orders_by_state ON orders (state, id);

-- Redeem codes by their hash. Who has taken a code is decided here; what it credits is in that account's journal.
CREATE TABLE codes (
  hash       TEXT PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  bucket     TEXT NOT NULL,
  amount     TEXT NOT NULL,           -- a decimal
  reason     TEXT NOT NULL,
  author     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  account    TEXT,                    -- who has taken it
  taken_at   INTEGER,
  credited_at INTEGER,                -- when its account had credited it
  revoked_at INTEGER
) WITHOUT ROWID;

-- Few at any time: codes between the taking and the credit.
CREATE INDEX codes_uncredited ON codes (taken_at) WHERE taken_at IS NOT NULL AND credited_at IS NULL;

CREATE TABLE reconciled (
  account TEXT PRIMARY KEY,
  at      INTEGER,                    -- when it was found in order, or not, up to the newest row; null while that goes on
  seq     INTEGER NOT NULL,           -- in order up to this row
  doc     TEXT NOT NULL               -- the report
) WITHOUT ROWID;

-- Rows that are there already.
INSERT INTO batches (at, account, first_seq, last_seq, records)
SELECT MAX(at), account, MIN(seq), MAX(seq), MAX(kind <> 'receipt') FROM journal GROUP BY account, (seq - 1) / 200;

INSERT INTO usage_days (day, account, project, key, model, route, bucket, cause, key_label, requests, unpaid, retries, fallbacks,
  input_tokens, cached_tokens, output_tokens, reasoning_tokens, charge, input_charge)
SELECT date(at / 1000, 'unixepoch'), account, doc->>'project', doc->>'key', COALESCE(doc->>'model', doc->>'requested_model', ''),
  COALESCE(doc->>'route', ''), COALESCE(bucket, doc->>'bucket', ''), CASE WHEN doc->>'fallbacks' > 0 THEN 'fallback' ELSE 'direct' END,
  MAX(doc->>'key_label'), COUNT(*), SUM(amount IS NULL), 0, SUM(doc->>'fallbacks'),
  SUM(u->>'input' + u->>'cached_input' + u->>'cache_write' + u->>'audio_input'), SUM(u->>'cached_input'),
  SUM(u->>'output' + u->>'reasoning' + u->>'audio_output'), SUM(u->>'reasoning'), COALESCE(-SUM(amount), 0), 0
FROM (SELECT *, doc->'usage' AS u FROM journal WHERE kind = 'receipt') GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
