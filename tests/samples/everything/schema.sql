-- One of everything that a table can have beside its columns and keys.

CREATE EXTENSION btree_gist;
CREATE EXTENSION citext;
CREATE EXTENSION pg_trgm;

CREATE COLLATION by_bytes FROM "C";
CREATE DOMAIN positive AS numeric(12, 2) CHECK (VALUE > 0);
CREATE DOMAIN small_positive AS positive DEFAULT 1 CONSTRAINT small CHECK (VALUE < 1000);
CREATE DOMAIN tags AS text[] CHECK (cardinality(VALUE) < 10);
CREATE TYPE mood AS ENUM ('good', 'bad', 'ugly');
CREATE TYPE place AS (street text, number int);
CREATE TYPE stay AS (at place, mood mood);
CREATE TYPE floatrange AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE SEQUENCE ticket START 10 INCREMENT 10 CACHE 5;
CREATE SEQUENCE shared_number;

CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT upper($1) || '!' $$;
CREATE FUNCTION shout(integer) RETURNS text LANGUAGE sql IMMUTABLE STRICT RETURN $1::text || '!';
CREATE FUNCTION is_polite(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 !~ 'damn' $$;
CREATE FUNCTION next_ticket() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('ticket') $$;

CREATE TABLE country (
  code char(2) PRIMARY KEY, title text NOT NULL COLLATE by_bytes, area int4range, EXCLUDE USING gist (area WITH &&)
);

CREATE TABLE client (
  id bigint GENERATED ALWAYS AS IDENTITY (START WITH 1 INCREMENT BY 1) PRIMARY KEY,
  number bigint NOT NULL DEFAULT next_ticket() UNIQUE,
  email citext NOT NULL UNIQUE,
  name varchar(40) COLLATE "C" NOT NULL,
  country char(2) NOT NULL REFERENCES country,
  loud text GENERATED ALWAYS AS (shout(name::text)) STORED,
  credit positive NOT NULL DEFAULT 10,
  limits small_positive,
  labels tags,
  mood mood NOT NULL DEFAULT 'good',
  home place,
  stays stay[],
  temperature floatrange,
  born date CHECK (born > '1900-01-01'),
  nothing text,
  CONSTRAINT polite CHECK (is_polite(name::text)) NO INHERIT,
  CONSTRAINT later CHECK (id > 0) NOT VALID
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX client_name_trgm ON client USING gin (name gin_trgm_ops);
CREATE INDEX client_shout ON client (shout(name::text), id DESC) INCLUDE (country) WITH (fillfactor = 60);
CREATE INDEX client_mood ON client (mood) WHERE mood <> 'good'::mood;
CREATE INDEX client_pattern ON client (name varchar_pattern_ops NULLS FIRST);
CREATE INDEX client_born ON client USING brin (born) WITH (pages_per_range = 32);
CREATE INDEX client_hash ON client USING hash (name);
CREATE UNIQUE INDEX client_lower ON client (lower(name::text), country);
CREATE STATISTICS client_stats (dependencies, mcv) ON name, country FROM client;
ALTER TABLE client ALTER name SET STATISTICS 500, ALTER nothing SET STORAGE EXTERNAL, ALTER home SET COMPRESSION pglz;
ALTER TABLE client CLUSTER ON client_pattern;

CREATE TABLE booking (
  id serial PRIMARY KEY,
  client_id bigint NOT NULL REFERENCES client ON DELETE CASCADE,
  number bigint NOT NULL DEFAULT nextval('shared_number'),
  room int NOT NULL,
  during tstzrange NOT NULL,
  amount numeric(10, 2) NOT NULL DEFAULT 0,
  CONSTRAINT one_at_a_time EXCLUDE USING gist (client_id WITH =, during WITH &&) DEFERRABLE,
  CONSTRAINT booking_number UNIQUE (number) INCLUDE (room)
);
ALTER TABLE booking REPLICA IDENTITY USING INDEX booking_pkey;
CREATE TABLE remark (
  id bigint NOT NULL DEFAULT nextval('shared_number') PRIMARY KEY, booking_id int NOT NULL REFERENCES booking, body text NOT NULL, search tsvector
);
CREATE INDEX remark_search ON remark USING gin (search);
CREATE UNLOGGED TABLE session (client_id bigint PRIMARY KEY REFERENCES client, token uuid NOT NULL DEFAULT gen_random_uuid());
CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, client_id bigint NOT NULL REFERENCES client, what text NOT NULL);

CREATE FUNCTION note_client() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN INSERT INTO audit (client_id, what) VALUES (NEW.id, TG_OP); RETURN NULL; END $$;
CREATE FUNCTION index_remark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.search := to_tsvector('simple'::regconfig, NEW.body); RETURN NEW; END $$;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER index_remark BEFORE INSERT OR UPDATE OF body ON remark FOR EACH ROW EXECUTE FUNCTION index_remark();
CREATE TRIGGER never AFTER UPDATE ON booking FOR EACH ROW WHEN (OLD.room <> NEW.room) EXECUTE FUNCTION nothing();
ALTER TABLE booking DISABLE TRIGGER never;
CREATE TRIGGER each_statement AFTER DELETE ON booking FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE CONSTRAINT TRIGGER at_the_end AFTER INSERT ON booking DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nothing();

CREATE VIEW cheap AS SELECT c.id, c.name, b.amount FROM client c JOIN booking b ON b.client_id = c.id WHERE b.amount < 100;
CREATE VIEW grouped AS SELECT c.id, c.name, count(b.id) AS bookings FROM client c LEFT JOIN booking b ON b.client_id = c.id GROUP BY c.id;
CREATE VIEW loud_client WITH (security_barrier) AS SELECT id, loud, mood FROM client WHERE mood <> 'ugly' WITH CASCADED CHECK OPTION;
CREATE MATERIALIZED VIEW busy AS SELECT client_id, count(*) AS bookings FROM booking GROUP BY client_id;
CREATE UNIQUE INDEX busy_client ON busy (client_id);
CREATE RULE no_delete AS ON DELETE TO audit DO INSTEAD NOTHING;

ALTER TABLE booking ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON booking USING (client_id = current_setting('app.client', true)::bigint) WITH CHECK (amount >= 0);

COMMENT ON TABLE client IS 'Who pays: it''s 100% :complete';
COMMENT ON COLUMN client.name IS 'As in the passport';
COMMENT ON CONSTRAINT polite ON client IS 'No swearing';
COMMENT ON INDEX client_shout IS 'Loudly';
COMMENT ON TYPE mood IS 'Of the day';
COMMENT ON DOMAIN positive IS 'More than nothing';
COMMENT ON FUNCTION shout(text) IS 'Says it loudly';
COMMENT ON VIEW cheap IS 'Bargains';
COMMENT ON TRIGGER never ON booking IS 'Off';
COMMENT ON SEQUENCE ticket IS 'By ten';
COMMENT ON POLICY own ON booking IS 'Each their own';

INSERT INTO country VALUES ('DE', 'Germany', '[1,5)'), ('FR', 'France', '[5,9)'), ('US', 'United States', '[9,20)'), ('CA', 'Canada', NULL);
INSERT INTO client (email, name, country, limits, labels, mood, home, stays, temperature, born)
  SELECT 'C' || n || '@example.org', 'client ' || n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4], n, ARRAY['a', 'b' || n],
    (ARRAY['good', 'bad', 'ugly'])[1 + n % 3]::mood, ROW('street', n)::place, ARRAY[ROW(ROW('x', n)::place, 'bad')::stay, NULL], floatrange(n, n + 0.5), '1980-01-01'
  FROM generate_series(1, 12) n;
INSERT INTO booking (client_id, room, during, amount)
  SELECT 1 + n % 12, n % 5, tstzrange(timestamptz '2024-01-01 00:00+00' + n * interval '1 day', timestamptz '2024-01-01 12:00+00' + n * interval '1 day'), n * 10
  FROM generate_series(1, 36) n;
INSERT INTO remark (booking_id, body) SELECT id, 'nice room ' || room FROM booking;
INSERT INTO session SELECT id, lpad(id::text, 32, 'a')::uuid FROM client;
INSERT INTO audit (client_id, what) SELECT id, 'INSERT' FROM client;
CREATE TRIGGER note_client AFTER INSERT OR UPDATE ON client FOR EACH ROW EXECUTE FUNCTION note_client();
REFRESH MATERIALIZED VIEW busy;
