-- Who met the failures of a minute: an object by witness (a number made of the account, by which nobody can tell it), each with how
-- many it met, load apart, and the last one. It is not kept beyond the minute's row.
ALTER TABLE health_counts ADD COLUMN witnesses TEXT;
