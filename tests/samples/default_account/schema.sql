-- A cycle: a client has a default account, and every account a client. Both are NOT NULL, so one of
-- the keys is deferred: old code inserts the client first and its account after it. A second cycle
-- is immediate and nullable: an account's newest statement, and every statement's account.

CREATE TABLE client (
  id bigint PRIMARY KEY,
  country char(2) NOT NULL,
  default_account_id bigint NOT NULL
);

CREATE TABLE account (
  id bigint PRIMARY KEY,
  client_id bigint NOT NULL REFERENCES client DEFERRABLE INITIALLY IMMEDIATE,
  newest_statement_id bigint,
  UNIQUE (id, client_id)
);

ALTER TABLE client ADD CONSTRAINT client_default_account
  FOREIGN KEY (default_account_id, id) REFERENCES account (id, client_id)
  DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE statement (
  id bigint PRIMARY KEY,
  account_id bigint NOT NULL REFERENCES account,
  closed date NOT NULL
);

ALTER TABLE account ADD CONSTRAINT account_newest_statement
  FOREIGN KEY (newest_statement_id) REFERENCES statement ON DELETE SET NULL;

BEGIN;
INSERT INTO client SELECT n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4], n * 10
  FROM generate_series(1, 8) n;
INSERT INTO account SELECT n * 10 + a, n FROM generate_series(1, 8) n, generate_series(0, 2) a;
COMMIT;
INSERT INTO statement SELECT n, 10 * (1 + n % 8) + n % 3, date '2024-01-01' + n::int
  FROM generate_series(1, 48) n;
UPDATE account a SET newest_statement_id =
  (SELECT max(s.id) FROM statement s WHERE s.account_id = a.id) WHERE a.id % 5 <> 0;
