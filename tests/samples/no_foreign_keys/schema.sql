-- Nothing is declared: no foreign key anywhere. Whose a row is, only the application knows. The
-- names help for some columns (account_no), for others not (holder), and a shared table looks like
-- any other. The keys are text, so that values tell more than small integers would.

CREATE TABLE client (id text PRIMARY KEY, name text, country char(2) NOT NULL);
CREATE TABLE account (no text PRIMARY KEY, holder text NOT NULL, currency char(3) NOT NULL);
CREATE TABLE booking (id bigint PRIMARY KEY, account_no text NOT NULL, amount numeric(12, 2) NOT NULL);
CREATE INDEX booking_account ON booking (account_no);
CREATE TABLE attachment (booking bigint NOT NULL, page int NOT NULL, content bytea, PRIMARY KEY (booking, page));
CREATE TABLE currency (code char(3) PRIMARY KEY, title text NOT NULL);

INSERT INTO client SELECT 'c-' || n, 'client ' || n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4]
  FROM generate_series(1, 8) n;
INSERT INTO account SELECT 'a-' || n, 'c-' || (1 + n % 8), (ARRAY['EUR', 'USD'])[1 + n % 2]
  FROM generate_series(1, 16) n;
INSERT INTO booking SELECT n, 'a-' || (1 + n % 16), n FROM generate_series(1, 48) n;
INSERT INTO attachment SELECT n, p, decode('00ff', 'hex') FROM generate_series(1, 24) n, generate_series(1, 2) p;
INSERT INTO currency VALUES ('EUR', 'Euro'), ('USD', 'US dollar');
