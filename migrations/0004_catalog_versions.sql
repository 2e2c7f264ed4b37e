-- What people want to know of a version of the catalogue, besides its document. Rows of before have none of it.

ALTER TABLE catalog_versions ADD COLUMN author TEXT;
ALTER TABLE catalog_versions ADD COLUMN reason TEXT;
ALTER TABLE catalog_versions ADD COLUMN effective_at INTEGER;  -- of one that was announced; null where it took effect when published
ALTER TABLE catalog_versions ADD COLUMN withdrawn_at INTEGER;  -- of one that was announced, and withdrawn or replaced before its time
ALTER TABLE catalog_versions ADD COLUMN changes TEXT;          -- from the one that ran before, as a JSON list of model, kind and text
