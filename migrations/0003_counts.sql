-- What is counted and is no token. Input and output tokens are sums of all their classes already.

ALTER TABLE usage_days ADD COLUMN images INTEGER NOT NULL DEFAULT 0;      -- that came out
ALTER TABLE usage_days ADD COLUMN seconds INTEGER NOT NULL DEFAULT 0;     -- of audio that went in
ALTER TABLE usage_days ADD COLUMN characters INTEGER NOT NULL DEFAULT 0;  -- that were spoken
ALTER TABLE usage_days ADD COLUMN searches INTEGER NOT NULL DEFAULT 0;
