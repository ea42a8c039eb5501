-- Every key has several columns, of several types, and foreign keys list them in another order than
-- the key does. A key column is also part of two foreign keys at once.

CREATE TABLE client (
  bank smallint NOT NULL,
  number text NOT NULL,
  country char(2) NOT NULL,
  PRIMARY KEY (bank, number)
);

CREATE TABLE account (
  client_number text NOT NULL,
  bank smallint NOT NULL,
  opened date NOT NULL,
  serial integer NOT NULL,
  PRIMARY KEY (opened, bank, client_number, serial),
  CONSTRAINT account_client FOREIGN KEY (client_number, bank) REFERENCES client (number, bank)
);

CREATE TABLE card (
  serial integer NOT NULL,
  client_number text NOT NULL,
  opened date NOT NULL,
  bank smallint NOT NULL,
  pan numeric(16, 0) NOT NULL,
  PRIMARY KEY (pan, bank),
  UNIQUE (bank, client_number, pan),
  CONSTRAINT card_account FOREIGN KEY (serial, client_number, bank, opened)
    REFERENCES account (serial, client_number, bank, opened) ON UPDATE CASCADE
);

-- The bank is part of both keys: the merchant's account lies at the same bank.
CREATE TABLE purchase (
  id bigint PRIMARY KEY,
  bank smallint NOT NULL,
  pan numeric(16, 0) NOT NULL,
  merchant_number text NOT NULL,
  CONSTRAINT purchase_card FOREIGN KEY (bank, pan) REFERENCES card (bank, pan),
  CONSTRAINT purchase_merchant FOREIGN KEY (bank, merchant_number) REFERENCES client (bank, number)
);

INSERT INTO client SELECT b, 'N' || n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + (n + b) % 4]
  FROM generate_series(1, 2) b, generate_series(1, 6) n;
INSERT INTO account SELECT number, bank, date '2020-02-29' + s, s FROM client, generate_series(1, 2) s;
INSERT INTO card SELECT serial, client_number, opened, bank,
  4000000000000000 + row_number() OVER (ORDER BY bank, client_number, serial) FROM account;
INSERT INTO purchase SELECT row_number() OVER (ORDER BY c.bank, c.pan, m.number), c.bank, c.pan, m.number
  FROM card c JOIN client m USING (bank) WHERE (c.pan + right(m.number, 1)::int) % 3 = 0;
