-- Clients refer to an address, not the address to its client; no two clients share one, so that it is
-- theirs. A second table, of persons, is referred to by accounts. Countries and languages are shared, by
-- the same sort of key. The client's region is known from the address only.

CREATE TABLE country (code char(2) PRIMARY KEY, title text NOT NULL);
CREATE TABLE language (code text PRIMARY KEY);
CREATE TABLE address (id bigint PRIMARY KEY, street text NOT NULL, country_code char(2) NOT NULL REFERENCES country);
CREATE TABLE address_line (address_id bigint NOT NULL REFERENCES address ON DELETE CASCADE, no smallint NOT NULL, line text, PRIMARY KEY (address_id, no));
CREATE TABLE client (
  id bigint PRIMARY KEY,
  name text NOT NULL,
  address_id bigint NOT NULL UNIQUE REFERENCES address,
  language text REFERENCES language
);
CREATE TABLE contact (id bigint PRIMARY KEY, phone text NOT NULL);
CREATE TABLE account (
  id bigint PRIMARY KEY, client_id bigint NOT NULL REFERENCES client, contact_id bigint NOT NULL REFERENCES contact
);

INSERT INTO country VALUES ('DE', 'Germany'), ('FR', 'France'), ('US', 'United States'), ('CA', 'Canada');
INSERT INTO language VALUES ('de'), ('en'), ('fr');
INSERT INTO address SELECT n, 'street ' || n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4] FROM generate_series(1, 12) n;
INSERT INTO address_line SELECT id, no, 'line' FROM address, generate_series(1, 2) no;
INSERT INTO client SELECT n, 'client ' || n, n, (ARRAY['de', 'en', 'fr'])[1 + n % 3] FROM generate_series(1, 12) n;
INSERT INTO contact SELECT n, '+1-' || n FROM generate_series(1, 24) n;
INSERT INTO account SELECT n, 1 + n % 12, n FROM generate_series(1, 24) n;
