-- As many columns as PostgreSQL can have: 1,600 in a shared table, 1,599 in a client's, to which the layout
-- tables adds one.

CREATE TABLE client (id bigint PRIMARY KEY, country char(2) NOT NULL);
DO $$
BEGIN
  EXECUTE (SELECT 'CREATE TABLE measurement (id bigint PRIMARY KEY, client_id bigint NOT NULL REFERENCES client, '
    || string_agg(format('c%s %s', n, (ARRAY['smallint', 'text', 'numeric(6, 2)', 'boolean'])[1 + n % 4]), ', ' ORDER BY n) || ')'
    FROM generate_series(1, 1597) n);
  EXECUTE (SELECT 'CREATE TABLE unit (id int PRIMARY KEY, ' || string_agg(format('c%s text', n), ', ' ORDER BY n) || ')'
    FROM generate_series(1, 1599) n);
END $$;
ALTER TABLE client ADD unit_id int REFERENCES unit;

INSERT INTO unit (id, c1, c1599) SELECT n, 'first', 'last' FROM generate_series(1, 4) n;
INSERT INTO client SELECT n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4], 1 + n % 4 FROM generate_series(1, 8) n;
INSERT INTO measurement (id, client_id, c1, c2, c3, c800, c1597)
  SELECT n, 1 + n % 8, 'one', n, true, n, 'end' FROM generate_series(1, 16) n;
