-- As link_table, but some accounts are joint: mandates of several clients, who live in different
-- regions, lead to the same account. Such an account has no home.

CREATE TABLE client (id bigint PRIMARY KEY, name text NOT NULL, country char(2) NOT NULL);

CREATE TABLE account (id bigint PRIMARY KEY, iban text NOT NULL UNIQUE);

CREATE TABLE mandate (
  client_id bigint NOT NULL REFERENCES client,
  account_id bigint NOT NULL REFERENCES account,
  role text NOT NULL,
  PRIMARY KEY (client_id, account_id)
);

CREATE TABLE booking (
  id bigint PRIMARY KEY,
  account_id bigint NOT NULL REFERENCES account,
  amount numeric(12, 2) NOT NULL
);

INSERT INTO client VALUES (1, 'Ada', 'DE'), (2, 'Ben', 'US'), (3, 'Cem', 'FR'), (4, 'Dee', 'CA');
INSERT INTO account SELECT n, 'XX' || lpad(n::text, 10, '0') FROM generate_series(1, 12) n;
INSERT INTO mandate SELECT 1 + n % 4, n, 'holder' FROM generate_series(1, 12) n;
INSERT INTO mandate VALUES (2, 4, 'joint'), (3, 5, 'joint'), (1, 6, 'joint');
INSERT INTO booking SELECT n, 1 + n % 12, n FROM generate_series(1, 30) n;
