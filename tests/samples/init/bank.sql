-- What foreign keys alone cannot tell: two ways home, two owners, link tables, private addresses,
-- cycles, subtypes, references to other keys than the primary one.

CREATE TABLE country (code char(2) PRIMARY KEY, name text NOT NULL, region_hint text);
CREATE TABLE branch (id int PRIMARY KEY, country_code char(2) NOT NULL REFERENCES country);
-- Every address belongs to one client; nobody shares one.
CREATE TABLE address (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, street text NOT NULL);
CREATE TABLE client (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  branch_id int NOT NULL REFERENCES branch,
  address_id int REFERENCES address,
  number text NOT NULL UNIQUE,
  email text UNIQUE,
  referred_by bigint REFERENCES client
);
-- A company is a client of its own kind: it shares the key.
CREATE TABLE company (client_id bigint PRIMARY KEY REFERENCES client, vat text UNIQUE);
-- An account belongs to a client only by way of a mandate.
CREATE TABLE account (id bigint PRIMARY KEY, currency text NOT NULL DEFAULT 'EUR', balance numeric(14, 2));
CREATE TABLE mandate (
  client_id bigint NOT NULL REFERENCES client, account_id bigint NOT NULL REFERENCES account,
  since date, PRIMARY KEY (client_id, account_id)
);
-- A cycle: a client has a default account.
ALTER TABLE client ADD default_account_id bigint REFERENCES account DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE card (
  id bigint PRIMARY KEY, account_id bigint NOT NULL REFERENCES account,
  client_id bigint NOT NULL REFERENCES client
);
-- The client is there twice, by the account and by the card; both say the same.
CREATE TABLE payment (
  id bigint PRIMARY KEY, account_id bigint NOT NULL REFERENCES account,
  card_id bigint REFERENCES card, amount numeric(12, 2) NOT NULL
);
-- Two owners with equal right.
CREATE TABLE transfer (
  id bigint PRIMARY KEY, from_account bigint NOT NULL REFERENCES account,
  to_account bigint NOT NULL REFERENCES account, amount numeric(12, 2) NOT NULL
);
-- Two owners, of which one may be missing.
CREATE TABLE gift (
  id bigint PRIMARY KEY, giver bigint NOT NULL REFERENCES client, taker bigint REFERENCES client
);
-- A reference to another key than the primary one.
CREATE TABLE letter (id int PRIMARY KEY, client_number text NOT NULL REFERENCES client (number));
CREATE TABLE letter_page (letter_id int REFERENCES letter, page int, text text, PRIMARY KEY (letter_id, page));
CREATE TABLE holiday (day date PRIMARY KEY, name text);

INSERT INTO country VALUES ('DE', 'Germany', 'eu'), ('FR', 'France', 'eu'), ('US', 'United States', 'na');
INSERT INTO branch SELECT n, (ARRAY['DE', 'FR', 'US'])[1 + n % 3] FROM generate_series(1, 6) n;
INSERT INTO address (street) SELECT 'street ' || n FROM generate_series(1, 30) n;
INSERT INTO client (branch_id, address_id, number, email, referred_by)
  SELECT 1 + n % 6, n, 'C' || n, 'c' || n || '@example', CASE WHEN n > 5 THEN n - 5 END
  FROM generate_series(1, 30) n;
INSERT INTO company SELECT n, 'VAT' || n FROM generate_series(1, 30, 3) n;
INSERT INTO account SELECT n, 'EUR', n FROM generate_series(1, 60) n;
INSERT INTO mandate SELECT 1 + n % 30, n, '2020-01-01' FROM generate_series(1, 60) n;
UPDATE client SET default_account_id = id + 29 WHERE id > 1;
INSERT INTO card SELECT n, n, 1 + n % 30 FROM generate_series(1, 60) n;
INSERT INTO payment SELECT n, 1 + n % 60, CASE WHEN n % 4 > 0 THEN 1 + n % 60 END, n FROM generate_series(1, 300) n;
INSERT INTO transfer SELECT n, 1 + n % 60, 1 + (n * 7 + n / 9) % 60, n FROM generate_series(1, 100) n;
INSERT INTO gift SELECT n, 1 + n % 30, CASE WHEN n % 2 = 0 THEN 1 + (n * 5 + n / 7) % 30 END FROM generate_series(1, 40) n;
INSERT INTO letter SELECT n, 'C' || (1 + n % 30) FROM generate_series(1, 45) n;
INSERT INTO letter_page SELECT 1 + n % 45, n / 45, 'text' FROM generate_series(0, 89) n;
INSERT INTO holiday VALUES ('2025-12-25', 'Christmas');
ANALYZE;
