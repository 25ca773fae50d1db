-- What a client whose identity its token tells calls itself: identities that authorization servers give are not for people.

ALTER TABLE requests ADD COLUMN client_name TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN client_name TEXT NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN client_name TEXT NOT NULL DEFAULT '';
