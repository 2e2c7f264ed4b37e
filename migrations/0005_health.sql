-- What is known of the health of candidates: what requests and probes came to, when a status changed, and the probe round.

-- Attempts, counted when their receipts arrive, by minute; the cron moves what is old on to hours, and then to days, so that
-- every attempt is counted in exactly one row. For what they take, see docs/decisions/0026-health-history.md.
CREATE TABLE health_counts (
  channel        TEXT NOT NULL,
  upstream_model TEXT NOT NULL,
  is_probe       INTEGER NOT NULL,     -- 1 for those of probes, which are no user's
  span           INTEGER NOT NULL,     -- milliseconds: a minute, an hour, a day
  start          INTEGER NOT NULL,     -- milliseconds since 1970
  ok             INTEGER NOT NULL,     -- answered to the end, or until the client left
  failed         INTEGER NOT NULL,     -- neither answered nor loaded
  load           INTEGER NOT NULL,     -- asked for fewer requests
  in_row         INTEGER NOT NULL,     -- failures since the last answer
  ok_at          INTEGER,              -- when one was last answered
  failure        TEXT,                 -- the last one: milliseconds since 1970 in 15 digits, its kind, its words
  -- How long it took to the first byte, and to the end: counts by range, see routing/health/histogram.rs.
  f0 INTEGER NOT NULL, f1 INTEGER NOT NULL, f2 INTEGER NOT NULL, f3 INTEGER NOT NULL, f4 INTEGER NOT NULL, f5 INTEGER NOT NULL,
  f6 INTEGER NOT NULL, f7 INTEGER NOT NULL, f8 INTEGER NOT NULL, f9 INTEGER NOT NULL, f10 INTEGER NOT NULL, f11 INTEGER NOT NULL,
  f12 INTEGER NOT NULL, f13 INTEGER NOT NULL, f14 INTEGER NOT NULL, f15 INTEGER NOT NULL, f16 INTEGER NOT NULL, f17 INTEGER NOT NULL,
  f18 INTEGER NOT NULL, f19 INTEGER NOT NULL, f20 INTEGER NOT NULL, f21 INTEGER NOT NULL, f22 INTEGER NOT NULL, f23 INTEGER NOT NULL,
  l0 INTEGER NOT NULL, l1 INTEGER NOT NULL, l2 INTEGER NOT NULL, l3 INTEGER NOT NULL, l4 INTEGER NOT NULL, l5 INTEGER NOT NULL,
  l6 INTEGER NOT NULL, l7 INTEGER NOT NULL, l8 INTEGER NOT NULL, l9 INTEGER NOT NULL, l10 INTEGER NOT NULL, l11 INTEGER NOT NULL,
  l12 INTEGER NOT NULL, l13 INTEGER NOT NULL, l14 INTEGER NOT NULL, l15 INTEGER NOT NULL, l16 INTEGER NOT NULL, l17 INTEGER NOT NULL,
  l18 INTEGER NOT NULL, l19 INTEGER NOT NULL, l20 INTEGER NOT NULL, l21 INTEGER NOT NULL, l22 INTEGER NOT NULL, l23 INTEGER NOT NULL,
  PRIMARY KEY (channel, upstream_model, span, start, is_probe)
) WITHOUT ROWID;

CREATE TABLE health_changes (
  channel        TEXT NOT NULL,
  upstream_model TEXT NOT NULL,
  at             INTEGER NOT NULL,
  status         TEXT NOT NULL,
  cause          TEXT NOT NULL,
  PRIMARY KEY (channel, upstream_model, at)
) WITHOUT ROWID;

-- One row: who runs the round now and until when, and the snapshot that the last one ended with.
CREATE TABLE health_round (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  lease       TEXT NOT NULL,
  lease_until INTEGER NOT NULL,
  doc         TEXT NOT NULL
);
INSERT INTO health_round (id, lease, lease_until, doc) VALUES (1, '', 0, '{}');
