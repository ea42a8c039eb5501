-- Rows are marked as deleted, and uniqueness holds for the others only: partial unique indexes, over
-- expressions too, one default row per client, and a unique constraint in which NULLs are equal.

CREATE TABLE client (
  id bigint PRIMARY KEY,
  email text NOT NULL,
  nickname text,
  country char(2) NOT NULL,
  deleted_at timestamptz
);
CREATE UNIQUE INDEX client_email ON client (lower(email)) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX client_nickname ON client (nickname) WHERE nickname IS NOT NULL;
CREATE TABLE card (
  id bigint PRIMARY KEY,
  client_id bigint NOT NULL REFERENCES client,
  number text NOT NULL,
  is_default boolean NOT NULL DEFAULT false,
  deleted_at timestamptz
);
CREATE UNIQUE INDEX card_number ON card (number) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX card_default ON card (client_id) WHERE is_default;
CREATE TABLE domain_name (
  id bigint PRIMARY KEY,
  card_id bigint NOT NULL REFERENCES card,
  host text NOT NULL,
  port int,
  rank int NOT NULL,
  CONSTRAINT domain_host UNIQUE NULLS NOT DISTINCT (host, port),
  CONSTRAINT domain_rank UNIQUE (card_id, rank) DEFERRABLE INITIALLY IMMEDIATE
);
CREATE UNIQUE INDEX domain_upper ON domain_name (upper(host) text_pattern_ops, coalesce(port, -1)) INCLUDE (rank) WHERE port IS NULL OR port > 0;

INSERT INTO client SELECT n, CASE WHEN n % 2 = 0 THEN 'A' ELSE 'a' END || (n / 2) || '@example.org', CASE WHEN n % 3 = 0 THEN 'nick' || n END,
  (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4], CASE WHEN n % 2 = 0 THEN timestamptz '2024-01-01 00:00+00' END FROM generate_series(1, 16) n;
INSERT INTO card SELECT n, 1 + n % 16, 'N' || (n % 24), n <= 16, CASE WHEN n > 24 THEN timestamptz '2024-02-01 00:00:00.123456+00' END
  FROM generate_series(1, 48) n;
INSERT INTO domain_name SELECT n, n, 'h' || n, CASE WHEN n % 3 = 0 THEN 80 END, n FROM generate_series(1, 48) n;
