-- How often a request was written. Who writes one names the number that it was read with, so that nobody writes over what
-- somebody else did meanwhile.

ALTER TABLE requests ADD COLUMN moves BIGINT NOT NULL DEFAULT 0;
