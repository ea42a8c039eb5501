-- A client owns accounts only by way of mandates: no column of an account names its client. Each
-- account has one holder, with several mandates over the years. What follows the account (bookings)
-- is two steps from the only table that knows the client.

CREATE TABLE client (id bigint PRIMARY KEY, name text NOT NULL, country char(2) NOT NULL);

CREATE TABLE account (
  id bigint PRIMARY KEY,
  iban text NOT NULL UNIQUE,
  opened date NOT NULL
);

CREATE TABLE mandate (
  client_id bigint NOT NULL REFERENCES client,
  account_id bigint NOT NULL REFERENCES account,
  since date NOT NULL,
  until date,
  PRIMARY KEY (client_id, account_id, since)
);
CREATE INDEX mandate_account ON mandate (account_id);

CREATE TABLE booking (
  id bigserial PRIMARY KEY,
  account_id bigint NOT NULL REFERENCES account,
  amount numeric(12, 2) NOT NULL
);

INSERT INTO client VALUES (1, 'Ada', 'DE'), (2, 'Ben', 'US'), (3, 'Cem', 'FR'), (4, 'Dee', 'CA');
INSERT INTO account SELECT n, 'XX' || lpad(n::text, 10, '0'), date '2020-01-01' + n
  FROM generate_series(1, 12) n;
INSERT INTO mandate SELECT 1 + n % 4, n, date '2020-01-01' + n, date '2021-01-01'
  FROM generate_series(1, 12) n;
INSERT INTO mandate SELECT 1 + n % 4, n, date '2021-01-01', NULL FROM generate_series(1, 12, 2) n;
INSERT INTO booking (account_id, amount) SELECT 1 + n % 12, n FROM generate_series(1, 60) n;
