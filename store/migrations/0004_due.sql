-- What the background work looks for every few seconds, so that it finds that without reading all
-- connections. "<> 0" and not "> 0", which SQLite might take for the bound of a search.

DROP INDEX connections_expire;
DROP INDEX connections_end;
CREATE INDEX connections_expire ON connections (expires_at) WHERE expires_at <> 0;
CREATE INDEX connections_end ON connections (refresh_expires_at) WHERE refresh_expires_at <> 0;
CREATE INDEX connections_down ON connections (next_try_at) WHERE state = 'provider_down';
CREATE INDEX connections_probe ON connections (updated_at) WHERE method IN ('browser', 'api_key');
CREATE INDEX sessions_expire ON sessions (expires_at);
