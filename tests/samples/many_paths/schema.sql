-- Several ways to the client. Of a card and of a payment all of them agree in every row, so any may be
-- followed and the others stay within the client. Of a voucher they do not: it was bought by one client
-- (always) and is redeemed with another's card (sometimes). A letter goes to one client and concerns
-- another's account, and is never without the first.

CREATE TABLE client (id bigint PRIMARY KEY, country char(2) NOT NULL);
CREATE TABLE account (id bigint PRIMARY KEY, client_id bigint NOT NULL REFERENCES client);
CREATE TABLE card (
  id bigint PRIMARY KEY,
  account_id bigint NOT NULL REFERENCES account,
  client_id bigint NOT NULL REFERENCES client
);
CREATE TABLE payment (
  id bigint PRIMARY KEY,
  client_id bigint NOT NULL REFERENCES client,
  account_id bigint NOT NULL REFERENCES account,
  card_id bigint REFERENCES card,
  corrects bigint REFERENCES payment
);
CREATE TABLE voucher (
  id bigint PRIMARY KEY,
  bought_by bigint NOT NULL REFERENCES client,
  card_id bigint REFERENCES card
);
CREATE TABLE letter (
  id bigint PRIMARY KEY,
  client_id bigint NOT NULL REFERENCES client,
  account_id bigint NOT NULL REFERENCES account
);

INSERT INTO client SELECT n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4] FROM generate_series(1, 8) n;
INSERT INTO account SELECT n, 1 + n % 8 FROM generate_series(1, 24) n;
INSERT INTO card SELECT id, id, client_id FROM account;
INSERT INTO payment SELECT n, a.client_id, a.id, CASE WHEN n % 3 > 0 THEN a.id END, CASE WHEN n > 48 THEN n - 48 END
  FROM generate_series(1, 72) n JOIN account a ON a.id = 1 + n % 24;
INSERT INTO voucher SELECT n, 1 + n % 8, CASE WHEN n % 2 = 0 THEN 1 + (n * 5) % 24 END FROM generate_series(1, 32) n;
INSERT INTO letter SELECT n, 1 + n % 8, 1 + (n * 7) % 24 FROM generate_series(1, 32) n;
