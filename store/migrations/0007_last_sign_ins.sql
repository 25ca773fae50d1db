-- What a sign-in brought last is looked up by its connection.

CREATE INDEX requests_stored ON requests (connection, updated_at) WHERE state = 'stored';
