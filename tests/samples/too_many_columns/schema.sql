-- A table of clients' rows with 1,600 columns, the most that PostgreSQL allows. The layout tables cannot
-- add a region to it. MongoDB can.

CREATE TABLE client (id bigint PRIMARY KEY, country char(2) NOT NULL);
DO $$
BEGIN
  EXECUTE (SELECT 'CREATE TABLE measurement (id bigint PRIMARY KEY, client_id bigint NOT NULL REFERENCES client, '
    || string_agg(format('c%s smallint', n), ', ' ORDER BY n) || ')' FROM generate_series(1, 1598) n);
END $$;
INSERT INTO client SELECT n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4] FROM generate_series(1, 4) n;
INSERT INTO measurement (id, client_id, c1, c1598) SELECT n, 1 + n % 4, n, n FROM generate_series(1, 8) n;
