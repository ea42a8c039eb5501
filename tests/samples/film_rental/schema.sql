-- A film rental shop, in the shape of well-known teaching databases: stores and staff refer to each other,
-- addresses are shared by stores, staff and customers, payments are partitioned by month with their
-- foreign keys on the partitions only, and a customer's region is at the end of four foreign keys.

CREATE DOMAIN year AS integer CONSTRAINT year_check CHECK (VALUE >= 1901 AND VALUE <= 2155);
CREATE TYPE mpaa_rating AS ENUM ('G', 'PG', 'PG-13', 'R', 'NC-17');
CREATE FUNCTION last_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.last_update = CURRENT_TIMESTAMP; RETURN NEW; END $$;

CREATE TABLE country (country_id serial PRIMARY KEY, country text NOT NULL, last_update timestamptz NOT NULL DEFAULT now());
CREATE TABLE city (
  city_id serial PRIMARY KEY, city text NOT NULL, country_id integer NOT NULL REFERENCES country ON UPDATE CASCADE ON DELETE RESTRICT,
  last_update timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE address (
  address_id serial PRIMARY KEY, address text NOT NULL, city_id integer NOT NULL REFERENCES city ON UPDATE CASCADE ON DELETE RESTRICT,
  phone text NOT NULL, last_update timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_fk_city_id ON address (city_id);
CREATE TABLE store (store_id serial PRIMARY KEY, manager_staff_id integer NOT NULL, address_id integer NOT NULL REFERENCES address ON UPDATE CASCADE ON DELETE RESTRICT);
CREATE UNIQUE INDEX idx_unq_manager_staff_id ON store (manager_staff_id);
CREATE TABLE staff (
  staff_id serial PRIMARY KEY, first_name text NOT NULL, address_id integer NOT NULL REFERENCES address ON UPDATE CASCADE ON DELETE RESTRICT,
  store_id integer NOT NULL REFERENCES store, active boolean NOT NULL DEFAULT true, picture bytea
);
CREATE TABLE customer (
  customer_id serial PRIMARY KEY, store_id integer NOT NULL REFERENCES store ON UPDATE CASCADE ON DELETE RESTRICT,
  first_name text NOT NULL, email text, address_id integer NOT NULL REFERENCES address ON UPDATE CASCADE ON DELETE RESTRICT,
  activebool boolean NOT NULL DEFAULT true, create_date date NOT NULL DEFAULT CURRENT_DATE, last_update timestamptz DEFAULT now()
);
CREATE INDEX idx_fk_address_id ON customer (address_id);
CREATE TABLE language (language_id serial PRIMARY KEY, name character(20) NOT NULL);
CREATE TABLE film (
  film_id serial PRIMARY KEY, title text NOT NULL, release_year year, language_id integer NOT NULL REFERENCES language ON UPDATE CASCADE ON DELETE RESTRICT,
  original_language_id integer REFERENCES language ON UPDATE CASCADE ON DELETE RESTRICT,
  rental_rate numeric(4, 2) NOT NULL DEFAULT 4.99, rating mpaa_rating DEFAULT 'G'::mpaa_rating, special_features text[], fulltext tsvector NOT NULL
);
CREATE INDEX film_fulltext_idx ON film USING gist (fulltext);
CREATE TRIGGER film_fulltext_trigger BEFORE INSERT OR UPDATE ON film FOR EACH ROW
  EXECUTE FUNCTION tsvector_update_trigger('fulltext', 'pg_catalog.english', 'title');
CREATE TABLE inventory (
  inventory_id serial PRIMARY KEY, film_id integer NOT NULL REFERENCES film ON UPDATE CASCADE ON DELETE RESTRICT,
  store_id integer NOT NULL REFERENCES store ON UPDATE CASCADE ON DELETE RESTRICT
);
CREATE TABLE rental (
  rental_id serial PRIMARY KEY, rental_date timestamptz NOT NULL, inventory_id integer NOT NULL REFERENCES inventory ON UPDATE CASCADE ON DELETE RESTRICT,
  customer_id integer NOT NULL REFERENCES customer ON UPDATE CASCADE ON DELETE RESTRICT, return_date timestamptz,
  staff_id integer NOT NULL REFERENCES staff ON UPDATE CASCADE ON DELETE RESTRICT, last_update timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX idx_unq_rental ON rental (rental_date, inventory_id, customer_id);
CREATE TRIGGER last_updated BEFORE UPDATE ON rental FOR EACH ROW EXECUTE FUNCTION last_updated();
CREATE TRIGGER last_updated BEFORE UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION last_updated();

CREATE SEQUENCE payment_payment_id_seq;
CREATE TABLE payment (
  payment_id integer NOT NULL DEFAULT nextval('payment_payment_id_seq'), customer_id integer NOT NULL, staff_id integer NOT NULL,
  rental_id integer NOT NULL, amount numeric(5, 2) NOT NULL, payment_date timestamptz NOT NULL, PRIMARY KEY (payment_date, payment_id)
) PARTITION BY RANGE (payment_date);
CREATE TABLE payment_p2022_01 PARTITION OF payment FOR VALUES FROM ('2022-01-01 00:00:00+00') TO ('2022-02-01 00:00:00+00');
CREATE TABLE payment_p2022_02 PARTITION OF payment FOR VALUES FROM ('2022-02-01 00:00:00+00') TO ('2022-03-01 00:00:00+00');
DO $$
DECLARE part text;
BEGIN
  FOREACH part IN ARRAY ARRAY['payment_p2022_01', 'payment_p2022_02'] LOOP
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I FOREIGN KEY (customer_id) REFERENCES customer', part, part || '_customer_id_fkey');
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I FOREIGN KEY (rental_id) REFERENCES rental', part, part || '_rental_id_fkey');
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I FOREIGN KEY (staff_id) REFERENCES staff', part, part || '_staff_id_fkey');
    EXECUTE format('CREATE INDEX %I ON %I (customer_id)', 'idx_fk_' || part || '_customer_id', part);
  END LOOP;
END $$;

CREATE VIEW customer_list AS
  SELECT cu.customer_id AS id, cu.first_name AS name, a.address, city.city, country.country,
    CASE WHEN cu.activebool THEN 'active'::text ELSE ''::text END AS notes, cu.store_id AS sid
  FROM customer cu JOIN address a ON cu.address_id = a.address_id JOIN city ON a.city_id = city.city_id JOIN country ON city.country_id = country.country_id;
CREATE MATERIALIZED VIEW rental_by_category AS
  SELECT f.rating, sum(p.amount) AS total_sales FROM payment p JOIN rental r ON p.rental_id = r.rental_id
  JOIN inventory i ON r.inventory_id = i.inventory_id JOIN film f ON i.film_id = f.film_id GROUP BY f.rating;
CREATE FUNCTION group_concat(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN $2 IS NULL THEN $1 WHEN $1 IS NULL THEN $2 ELSE $1 || ', ' || $2 END $$;
CREATE AGGREGATE group_concat(text) (SFUNC = group_concat, STYPE = text);
CREATE VIEW film_list AS SELECT language.name AS language, group_concat(film.title) AS titles FROM film JOIN language USING (language_id) GROUP BY language.name;

INSERT INTO country (country) VALUES ('Germany'), ('United States'), ('France'), ('Canada');
INSERT INTO city (city, country_id) SELECT 'city ' || n, 1 + n % 4 FROM generate_series(1, 8) n;
INSERT INTO address (address, city_id, phone) SELECT 'street ' || n, 1 + n % 8, '' FROM generate_series(1, 20) n;
BEGIN;
INSERT INTO store (manager_staff_id, address_id) VALUES (1, 17), (2, 18);
INSERT INTO staff (first_name, address_id, store_id) VALUES ('Mike', 19, 1), ('Jon', 20, 2);
ALTER TABLE store ADD CONSTRAINT store_manager_staff_id_fkey FOREIGN KEY (manager_staff_id) REFERENCES staff ON UPDATE CASCADE ON DELETE RESTRICT;
COMMIT;
-- Two customers live above a store, and two share an address.
INSERT INTO customer (store_id, first_name, email, address_id)
  SELECT 1 + n % 2, 'c' || n, 'c' || n || '@example.org', CASE n WHEN 15 THEN 17 WHEN 16 THEN 18 ELSE 1 + n / 2 END FROM generate_series(1, 16) n;
INSERT INTO language (name) VALUES ('English'), ('Italian');
INSERT INTO film (title, release_year, language_id, rating, special_features)
  SELECT 'FILM ' || n, 2000 + n, 1 + n % 2, (ARRAY['G', 'PG', 'R'])[1 + n % 3]::mpaa_rating, ARRAY['Trailers', 'Deleted Scenes'] FROM generate_series(1, 10) n;
INSERT INTO inventory (film_id, store_id) SELECT 1 + n % 10, 1 + n % 2 FROM generate_series(1, 20) n;
INSERT INTO rental (rental_date, inventory_id, customer_id, staff_id) SELECT timestamptz '2022-01-01 10:00+00' + n * interval '1 day', 1 + n % 20, 1 + n % 16, 1 + n % 2 FROM generate_series(1, 50) n;
INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date) SELECT customer_id, staff_id, rental_id, 4.99, rental_date + interval '1 hour' FROM rental;
REFRESH MATERIALIZED VIEW rental_by_category;
