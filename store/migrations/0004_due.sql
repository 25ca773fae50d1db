-- What the background work looks for every few seconds, and what an owner has open, is found without reading what is
-- over, which stays for a while and is more. "<> 0" and not "> 0", which SQLite might take for the bound of a search.

DROP INDEX connections_expire;
DROP INDEX connections_end;
DROP INDEX requests_state;
CREATE INDEX connections_expire ON connections (expires_at) WHERE expires_at <> 0;
CREATE INDEX connections_end ON connections (refresh_expires_at) WHERE refresh_expires_at <> 0;
CREATE INDEX connections_down ON connections (next_try_at) WHERE state = 'provider_down';
CREATE INDEX connections_probe ON connections (updated_at) WHERE method IN ('browser', 'api_key') AND state IN ('active', 'expiring', 'provider_down');
CREATE INDEX requests_owner ON requests (org, user_id) WHERE state IN ('created', 'confirmed', 'redirected', 'claimed', 'held');
CREATE INDEX requests_late ON requests (expires_at) WHERE state IN ('created', 'confirmed', 'redirected', 'held');
CREATE INDEX requests_claimed ON requests (updated_at) WHERE state = 'claimed';
CREATE INDEX requests_over ON requests (updated_at) WHERE state IN ('stored', 'failed', 'declined', 'expired');
CREATE INDEX approvals_owner ON approvals (org, user_id, expires_at);
CREATE INDEX approvals_over ON approvals (expires_at);
CREATE INDEX grants_over ON grants (until) WHERE until <> 0;
CREATE INDEX sessions_expire ON sessions (expires_at);
