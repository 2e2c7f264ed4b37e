-- What the bearer of a code is told of it. The reason and the author beside it are the operator's own.

ALTER TABLE codes ADD COLUMN note TEXT;
