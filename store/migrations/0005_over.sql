-- What is over stays for a while, and is more than what is open: each index has the one or the other.

DROP INDEX requests_state;
CREATE INDEX requests_owner ON requests (org, user_id) WHERE state IN ('created', 'confirmed', 'redirected', 'claimed', 'held');
CREATE INDEX requests_late ON requests (expires_at) WHERE state IN ('created', 'confirmed', 'redirected', 'held');
CREATE INDEX requests_claimed ON requests (updated_at) WHERE state = 'claimed';
CREATE INDEX requests_over ON requests (updated_at) WHERE state IN ('stored', 'failed', 'declined', 'expired');
DROP INDEX connections_probe;
CREATE INDEX connections_probe ON connections (updated_at) WHERE method IN ('browser', 'api_key') AND state IN ('active', 'expiring', 'provider_down');
CREATE INDEX approvals_owner ON approvals (org, user_id, expires_at);
CREATE INDEX approvals_over ON approvals (expires_at);
CREATE INDEX grants_over ON grants (until) WHERE until <> 0;
