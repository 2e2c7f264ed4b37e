-- How often "callable" was followed by an answer, by model, route and day in UTC: counted with the arrival of the rows, in the
-- same transaction, by what the receipts say. Days are forgotten when they are no longer shown.
CREATE TABLE truth_days (
  model    TEXT NOT NULL,             -- as in the catalogue
  route    TEXT NOT NULL,
  day      TEXT NOT NULL,
  callable INTEGER NOT NULL,          -- requests that were promised an answer
  answered INTEGER NOT NULL,          -- of these, answered as promised
  misses   TEXT NOT NULL,             -- the last others, oldest first: a JSON list of request, time in milliseconds, reason
  PRIMARY KEY (model, route, day)
) WITHOUT ROWID;
