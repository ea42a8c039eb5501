-- The names that the layouts would choose are taken: tables region, client_region, client_eu and
-- account_us, a sequence payment_eu, a type payment_us, an index account_eu, columns region and
-- home_region, a table that ends in _key like a key table, a table regionkit_region, and a column that
-- is called like a foreign reference's.

CREATE TABLE region (id int PRIMARY KEY, title text NOT NULL UNIQUE);
CREATE TABLE regionkit_region (code text PRIMARY KEY);
CREATE TABLE client (
  id bigint PRIMARY KEY,
  email text NOT NULL CONSTRAINT client_by_email UNIQUE,
  country char(2) NOT NULL,
  region int NOT NULL REFERENCES region,
  home_region text REFERENCES regionkit_region,
  regionkit_region text
);
CREATE TABLE client_region (client_id bigint NOT NULL REFERENCES client, region_id int NOT NULL REFERENCES region, PRIMARY KEY (client_id, region_id));
CREATE TABLE client_region_link (client_id bigint PRIMARY KEY REFERENCES client, region text NOT NULL);
CREATE TABLE client_eu (client_id bigint PRIMARY KEY REFERENCES client, vat text UNIQUE);
CREATE TABLE client_email_key (client_id bigint PRIMARY KEY REFERENCES client, salt text);
CREATE TABLE account (
  id bigint PRIMARY KEY, client_id bigint NOT NULL REFERENCES client, region text,
  sponsor_id bigint REFERENCES client, sponsor_id_region text
);
CREATE TABLE account_us (account_id bigint PRIMARY KEY REFERENCES account, routing text NOT NULL);
CREATE INDEX account_eu ON account (region);
CREATE TYPE payment_us AS ENUM ('wire', 'check');
CREATE TABLE payment (id bigint PRIMARY KEY, account_id bigint NOT NULL REFERENCES account, kind payment_us NOT NULL);
CREATE SEQUENCE payment_eu OWNED BY payment.id;
ALTER TABLE payment ALTER id SET DEFAULT nextval('payment_eu');

INSERT INTO region VALUES (1, 'north'), (2, 'south');
INSERT INTO regionkit_region VALUES ('n'), ('s');
INSERT INTO client SELECT n, 'c' || n || '@example.org', (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4], 1 + n % 2,
  CASE WHEN n % 3 > 0 THEN 'n' END, 'x' FROM generate_series(1, 8) n;
INSERT INTO client_region SELECT c, r FROM generate_series(1, 8) c, generate_series(1, 2) r;
INSERT INTO client_region_link SELECT id, 'eu' FROM client;
INSERT INTO client_eu SELECT id, CASE WHEN id > 4 THEN 'V' || id END FROM client;
INSERT INTO client_email_key SELECT id, 'salt' FROM client;
INSERT INTO account SELECT n, 1 + n % 8, 'eu', CASE WHEN n % 2 = 0 THEN 1 + (n + 1) % 8 END, 'none' FROM generate_series(1, 16) n;
INSERT INTO account_us SELECT id, 'R' || id FROM account;
INSERT INTO payment (account_id, kind) SELECT 1 + n % 16, CASE WHEN n % 2 = 0 THEN 'wire' ELSE 'check' END::payment_us FROM generate_series(1, 32) n;
