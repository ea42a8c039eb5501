-- A transfer belongs to the account that pays and to the account that is paid, alike: two foreign
-- keys of equal standing that lead to different clients. Its fees follow it, whichever is chosen.

CREATE TABLE client (id bigint PRIMARY KEY, name text NOT NULL, country char(2) NOT NULL);

CREATE TABLE account (
  id bigint PRIMARY KEY,
  client_id bigint NOT NULL REFERENCES client,
  balance numeric(14, 2) NOT NULL DEFAULT 0
);

CREATE TABLE transfer (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  payer_id bigint NOT NULL REFERENCES account,
  payee_id bigint NOT NULL REFERENCES account,
  amount numeric(14, 2) NOT NULL CHECK (amount > 0),
  CHECK (payer_id <> payee_id)
);
CREATE INDEX transfer_payee ON transfer (payee_id, amount DESC);

CREATE TABLE fee (
  transfer_id bigint NOT NULL REFERENCES transfer ON DELETE CASCADE,
  position smallint NOT NULL,
  amount numeric(14, 2) NOT NULL,
  PRIMARY KEY (transfer_id, position)
);

INSERT INTO client VALUES (1, 'Ada', 'DE'), (2, 'Ben', 'US'), (3, 'Cem', 'FR'), (4, 'Dee', 'CA');
INSERT INTO account SELECT n, 1 + n % 4, n * 100 FROM generate_series(1, 12) n;
-- Half of them stay within a client, a quarter within a region.
INSERT INTO transfer (payer_id, payee_id, amount)
  SELECT 1 + n % 12, 1 + (n + CASE n % 4 WHEN 0 THEN 4 WHEN 1 THEN 8 WHEN 2 THEN 2 ELSE 1 END) % 12, n
  FROM generate_series(1, 40) n;
INSERT INTO fee SELECT id, p, 0.25 FROM transfer, generate_series(1, 2) p WHERE id % 3 = 0;
