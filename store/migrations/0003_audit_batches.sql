-- The events of one commit, on their way into audit_events, where each stands under its owner.

CREATE TABLE audit_batches (
  writer TEXT   NOT NULL,
  seq    BIGINT NOT NULL,
  events BYTEA  NOT NULL,
  PRIMARY KEY (writer, seq)
);
