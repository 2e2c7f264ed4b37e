-- Tokens of operators: names, scopes, when they end. Of their secrets only the hash. The name of one that has ended is free again;
-- its row stays, since the audit has the name.
CREATE TABLE admin_tokens (
  id           TEXT PRIMARY KEY,
  name         TEXT NOT NULL COLLATE NOCASE,
  hash         TEXT NOT NULL UNIQUE,
  scopes       TEXT NOT NULL,           -- a JSON list
  created_at   INTEGER NOT NULL,
  created_by   TEXT NOT NULL,
  expires_at   INTEGER NOT NULL,
  revoked_at   INTEGER,
  last_used_at INTEGER                  -- noted once an hour
) WITHOUT ROWID;

-- Failed attempts to administer, by hour and address: counts, never a row for each.
CREATE TABLE admin_attempts (
  hour      INTEGER NOT NULL,           -- its beginning, in milliseconds
  address   TEXT NOT NULL,              -- of version 6 its network of 64 bits; `others` where an hour has too many
  absent    INTEGER NOT NULL,
  malformed INTEGER NOT NULL,
  unknown   INTEGER NOT NULL,
  ended     INTEGER NOT NULL,
  last_at   INTEGER NOT NULL,
  PRIMARY KEY (hour, address)
) WITHOUT ROWID;

-- The author of a change is who was authenticated. For whom it was made, as the client says it, stands beside; rows of before have
-- what the client said as their author.
ALTER TABLE codes ADD COLUMN on_behalf_of TEXT;
ALTER TABLE catalog_versions ADD COLUMN on_behalf_of TEXT;
