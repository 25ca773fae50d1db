-- One text for SQLite and PostgreSQL. Times are unix milliseconds, 0 is none.
-- Lists and maps are JSON text, '' is empty. A row belongs to (org, user_id).

CREATE TABLE keys (
  id         TEXT    NOT NULL PRIMARY KEY,
  kek        TEXT    NOT NULL,
  wrapped    BYTEA   NOT NULL,
  created_at BIGINT  NOT NULL,
  main       BOOLEAN NOT NULL
);

CREATE TABLE connections (
  org                TEXT   NOT NULL,
  user_id            TEXT   NOT NULL,
  id                 TEXT   NOT NULL,
  provider           TEXT   NOT NULL,
  account            TEXT   NOT NULL,
  account_id         TEXT   NOT NULL,
  method             TEXT   NOT NULL,
  state              TEXT   NOT NULL,
  cause              TEXT   NOT NULL,
  scopes             TEXT   NOT NULL,
  hosts              TEXT   NOT NULL,
  vars               TEXT   NOT NULL,
  bind               TEXT   NOT NULL,
  version            BIGINT NOT NULL,
  expires_at         BIGINT NOT NULL,
  refresh_expires_at BIGINT NOT NULL,
  issued_at          BIGINT NOT NULL,
  created_at         BIGINT NOT NULL,
  updated_at         BIGINT NOT NULL,
  last_used_at       BIGINT NOT NULL,
  lease_holder       TEXT   NOT NULL DEFAULT '',
  lease_until        BIGINT NOT NULL DEFAULT 0,
  fence              BIGINT NOT NULL DEFAULT 0,
  dead_version       BIGINT NOT NULL DEFAULT 0,
  attempted_at       BIGINT NOT NULL DEFAULT 0,
  attempts           BIGINT NOT NULL DEFAULT 0,
  failures           BIGINT NOT NULL DEFAULT 0,
  next_try_at        BIGINT NOT NULL DEFAULT 0,
  salt               BYTEA,
  sealed             BYTEA,
  answer             BYTEA,
  PRIMARY KEY (org, user_id, id)
);
CREATE UNIQUE INDEX connections_account ON connections (org, user_id, provider, account) WHERE state <> 'revoked';
CREATE INDEX connections_expire ON connections (expires_at) WHERE expires_at > 0;
CREATE INDEX connections_end ON connections (refresh_expires_at) WHERE refresh_expires_at > 0;
CREATE INDEX connections_leased ON connections (lease_holder) WHERE lease_holder <> '';

CREATE TABLE requests (
  org          TEXT    NOT NULL,
  user_id      TEXT    NOT NULL,
  id           TEXT    NOT NULL UNIQUE,
  client       TEXT    NOT NULL,
  verified     BOOLEAN NOT NULL,
  provider     TEXT    NOT NULL,
  method       TEXT    NOT NULL,
  account      TEXT    NOT NULL,
  scopes       TEXT    NOT NULL,
  reason       TEXT    NOT NULL,
  match_code   TEXT    NOT NULL,
  renews       TEXT    NOT NULL,
  state        TEXT    NOT NULL,
  cause        TEXT    NOT NULL,
  browser      BYTEA,
  state_hash   BYTEA,
  access       TEXT    NOT NULL,
  vars         TEXT    NOT NULL,
  private      BYTEA,
  user_code    TEXT    NOT NULL,
  verify_url   TEXT    NOT NULL,
  next_poll_at BIGINT  NOT NULL,
  connection   TEXT    NOT NULL,
  created_at   BIGINT  NOT NULL,
  updated_at   BIGINT  NOT NULL,
  expires_at   BIGINT  NOT NULL,
  PRIMARY KEY (org, user_id, id)
);
CREATE UNIQUE INDEX requests_state_hash ON requests (state_hash) WHERE state_hash IS NOT NULL;
CREATE INDEX requests_poll ON requests (next_poll_at) WHERE next_poll_at > 0;
CREATE INDEX requests_state ON requests (state, expires_at);

CREATE TABLE grants (
  org        TEXT   NOT NULL,
  user_id    TEXT   NOT NULL,
  id         TEXT   NOT NULL,
  client     TEXT   NOT NULL,
  connection TEXT   NOT NULL,
  kind       TEXT   NOT NULL,
  access     TEXT   NOT NULL,
  methods    TEXT   NOT NULL,
  paths      TEXT   NOT NULL,
  hosts      TEXT   NOT NULL,
  until      BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  origin     TEXT   NOT NULL,
  PRIMARY KEY (org, user_id, id),
  FOREIGN KEY (org, user_id, connection) REFERENCES connections (org, user_id, id)
);
CREATE INDEX grants_connection ON grants (org, user_id, connection, client);

CREATE TABLE approvals (
  org         TEXT    NOT NULL,
  user_id     TEXT    NOT NULL,
  id          TEXT    NOT NULL,
  client      TEXT    NOT NULL,
  verified    BOOLEAN NOT NULL,
  connection  TEXT    NOT NULL,
  provider    TEXT    NOT NULL,
  account     TEXT    NOT NULL,
  kind        TEXT    NOT NULL,
  digest      BYTEA,
  method      TEXT    NOT NULL,
  url         TEXT    NOT NULL,
  preview     TEXT    NOT NULL,
  body_digest TEXT    NOT NULL,
  why         TEXT    NOT NULL,
  state       TEXT    NOT NULL,
  once        BOOLEAN NOT NULL,
  created_at  BIGINT  NOT NULL,
  expires_at  BIGINT  NOT NULL,
  decided_at  BIGINT  NOT NULL,
  PRIMARY KEY (org, user_id, id)
);
CREATE INDEX approvals_connection ON approvals (org, user_id, connection, state);

CREATE TABLE apps (
  org        TEXT   NOT NULL,
  user_id    TEXT   NOT NULL,
  provider   TEXT   NOT NULL,
  id         TEXT   NOT NULL,
  client_id  TEXT   NOT NULL,
  bind       TEXT   NOT NULL,
  created_at BIGINT NOT NULL,
  salt       BYTEA,
  sealed     BYTEA,
  PRIMARY KEY (org, user_id, provider)
);

CREATE TABLE revocations (
  org         TEXT   NOT NULL,
  user_id     TEXT   NOT NULL,
  id          TEXT   NOT NULL UNIQUE,
  provider    TEXT   NOT NULL,
  connection  TEXT   NOT NULL,
  method      TEXT   NOT NULL,
  vars        TEXT   NOT NULL,
  bind        TEXT   NOT NULL,
  attempts    BIGINT NOT NULL,
  next_try_at BIGINT NOT NULL,
  created_at  BIGINT NOT NULL,
  salt        BYTEA,
  sealed      BYTEA,
  PRIMARY KEY (org, user_id, id)
);
CREATE INDEX revocations_due ON revocations (next_try_at);

CREATE TABLE audit_events (
  writer     TEXT   NOT NULL,
  seq        BIGINT NOT NULL,
  id         TEXT   NOT NULL,
  of         TEXT   NOT NULL,
  at         BIGINT NOT NULL,
  org        TEXT   NOT NULL,
  user_id    TEXT   NOT NULL,
  client     TEXT   NOT NULL,
  kind       TEXT   NOT NULL,
  provider   TEXT   NOT NULL,
  connection TEXT   NOT NULL,
  request    TEXT   NOT NULL,
  decision   TEXT   NOT NULL,
  detail     TEXT   NOT NULL,
  mac        BYTEA  NOT NULL,
  PRIMARY KEY (writer, seq)
);
CREATE INDEX audit_events_owner ON audit_events (org, user_id, at);

CREATE TABLE audit_heads (
  writer     TEXT   NOT NULL PRIMARY KEY,
  holder     TEXT   NOT NULL,
  held_until BIGINT NOT NULL,
  seq        BIGINT NOT NULL,
  mac        BYTEA  NOT NULL,
  proof      BYTEA  NOT NULL,
  base_seq   BIGINT NOT NULL,
  base_mac   BYTEA  NOT NULL,
  base_proof BYTEA  NOT NULL
);

CREATE TABLE tokens (
  hash       BYTEA  NOT NULL PRIMARY KEY,
  org        TEXT   NOT NULL,
  user_id    TEXT   NOT NULL,
  client     TEXT   NOT NULL,
  scopes     TEXT   NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX tokens_owner ON tokens (org, user_id);

CREATE TABLE sessions (
  hash       BYTEA  NOT NULL PRIMARY KEY,
  org        TEXT   NOT NULL,
  user_id    TEXT   NOT NULL,
  expires_at BIGINT NOT NULL
);

CREATE TABLE owner_links (
  hash       BYTEA  NOT NULL PRIMARY KEY,
  org        TEXT   NOT NULL,
  user_id    TEXT   NOT NULL,
  expires_at BIGINT NOT NULL
);

CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE processes (
  holder     TEXT   NOT NULL PRIMARY KEY,
  url        TEXT   NOT NULL,
  started_at BIGINT NOT NULL,
  seen_at    BIGINT NOT NULL
);
