-- What only PostgreSQL 18 has: keys over time, foreign keys over periods, virtual generated columns,
-- constraints that are not enforced, names of NOT NULL.

CREATE EXTENSION btree_gist;
CREATE TABLE client (
  id bigint PRIMARY KEY, country char(2) CONSTRAINT country_known NOT NULL, first text, last text,
  name text GENERATED ALWAYS AS (first || ' ' || last) VIRTUAL
);
CREATE TABLE contract (
  client_id bigint NOT NULL REFERENCES client, plan text NOT NULL, valid daterange NOT NULL, price numeric(8, 2),
  CONSTRAINT contract_key PRIMARY KEY (client_id, plan, valid WITHOUT OVERLAPS)
);
CREATE TABLE discount (
  id bigint PRIMARY KEY, client_id bigint NOT NULL REFERENCES client, plan text NOT NULL, during daterange NOT NULL,
  FOREIGN KEY (client_id, plan, PERIOD during) REFERENCES contract (client_id, plan, PERIOD valid)
);
CREATE TABLE note (
  id uuid PRIMARY KEY DEFAULT uuidv7(), client_id bigint NOT NULL, body text CONSTRAINT short CHECK (length(body) < 10) NOT ENFORCED,
  CONSTRAINT note_client FOREIGN KEY (client_id) REFERENCES client NOT ENFORCED
);

INSERT INTO client (id, country, first, last) SELECT n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4], 'first', n::text FROM generate_series(1, 8) n;
INSERT INTO contract SELECT id, p, daterange(date '2024-01-01' + y * 365, date '2024-01-01' + (y + 1) * 365), y FROM client, unnest(ARRAY['a', 'b']) p, generate_series(0, 1) y;
INSERT INTO discount SELECT id, id, 'a', daterange('2024-06-01', '2025-06-01') FROM client;
INSERT INTO note (id, client_id, body) SELECT lpad(n::text, 32, '0')::uuid, 1 + n % 8, 'a note that is too long' FROM generate_series(1, 16) n;
