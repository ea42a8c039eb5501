-- Foreign keys lead to unique columns that are not the primary key: to a unique constraint, to a
-- unique index that is no constraint, and to a composite one in another order than its columns.

CREATE TABLE client (
  id bigint PRIMARY KEY,
  code text NOT NULL CONSTRAINT client_code UNIQUE,
  branch smallint NOT NULL,
  number integer NOT NULL,
  country char(2) NOT NULL
);
CREATE UNIQUE INDEX client_number ON client (branch, number);

CREATE TABLE contract (
  id bigint PRIMARY KEY,
  client_code text NOT NULL REFERENCES client (code) ON UPDATE CASCADE,
  year smallint NOT NULL,
  serial integer NOT NULL,
  UNIQUE (year, serial)
);

CREATE TABLE clause (
  id bigint PRIMARY KEY,
  contract_serial integer NOT NULL,
  contract_year smallint NOT NULL,
  body text NOT NULL,
  FOREIGN KEY (contract_serial, contract_year) REFERENCES contract (serial, year)
);

CREATE TABLE visit (
  id bigint PRIMARY KEY,
  branch smallint,
  number integer,
  at timestamptz NOT NULL,
  FOREIGN KEY (branch, number) REFERENCES client (branch, number) MATCH FULL
);

CREATE TABLE currency (id smallint PRIMARY KEY, iso text NOT NULL);
CREATE UNIQUE INDEX currency_iso ON currency (iso);

CREATE TABLE price (
  contract_id bigint NOT NULL REFERENCES contract,
  iso text NOT NULL REFERENCES currency (iso),
  amount numeric(10, 2) NOT NULL,
  PRIMARY KEY (contract_id, iso)
);

INSERT INTO client SELECT n, 'C' || n, n % 3, n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4]
  FROM generate_series(1, 8) n;
INSERT INTO contract SELECT n, 'C' || (1 + n % 8), 2020 + n % 3, n FROM generate_series(1, 24) n;
INSERT INTO clause SELECT n, 1 + n % 24, 2020 + (1 + n % 24) % 3, 'clause ' || n
  FROM generate_series(1, 48) n;
INSERT INTO visit SELECT n, (1 + n % 8) % 3, 1 + n % 8, timestamptz '2024-05-01 12:00+00' + n * interval '1 hour'
  FROM generate_series(1, 16) n;
INSERT INTO currency VALUES (1, 'EUR'), (2, 'USD');
INSERT INTO price SELECT c.id, iso, c.id * 10 FROM contract c, currency;
