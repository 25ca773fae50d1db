-- Which of the states that MCP clients carry between two calls were used, until they would have ended anyway.
CREATE TABLE tickets (
  serial     TEXT   NOT NULL PRIMARY KEY,
  expires_at BIGINT NOT NULL
);
