-- Inheritance of the old kind: documents, and contracts and letters that inherit them. Rows stand in the
-- parent and in the children. A contract has a foreign key of its own, a letter has none (keys are not
-- inherited), a signed contract inherits from two tables. A shared table has a child too.

CREATE TABLE client (id bigint PRIMARY KEY, country char(2) NOT NULL);
CREATE TABLE document (
  id bigint PRIMARY KEY,
  client_id bigint NOT NULL REFERENCES client,
  title text NOT NULL CHECK (title <> ''),
  made timestamptz NOT NULL DEFAULT '2024-01-01 00:00+00'
);
CREATE TABLE contract (
  until date,
  PRIMARY KEY (id),
  FOREIGN KEY (client_id) REFERENCES client
) INHERITS (document);
CREATE TABLE letter (stamp text, PRIMARY KEY (id)) INHERITS (document);
CREATE TABLE signed (by_whom text NOT NULL);
CREATE TABLE signed_contract (PRIMARY KEY (id), FOREIGN KEY (client_id) REFERENCES client) INHERITS (contract, signed);
CREATE TABLE page (document_id bigint NOT NULL REFERENCES document, no int NOT NULL, PRIMARY KEY (document_id, no));
CREATE TABLE city (name text PRIMARY KEY, people int);
CREATE TABLE capital (of text NOT NULL, PRIMARY KEY (name)) INHERITS (city);
ALTER TABLE client ADD city text REFERENCES city;

INSERT INTO city VALUES ('Bonn', 300000), ('Austin', 900000);
INSERT INTO capital VALUES ('Berlin', 3700000, 'DE');
INSERT INTO client SELECT n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4], (ARRAY['Bonn', 'Austin', NULL])[1 + n % 3] FROM generate_series(1, 8) n;
INSERT INTO document (id, client_id, title) SELECT n, 1 + n % 8, 'plain ' || n FROM generate_series(1, 16) n;
INSERT INTO contract (id, client_id, title, until) SELECT 100 + n, 1 + n % 8, 'contract ' || n, '2030-01-01' FROM generate_series(1, 16) n;
-- The same ids again: inheritance shares no key.
INSERT INTO letter (id, client_id, title, stamp) SELECT n, 1 + (n + 1) % 8, 'letter ' || n, 'A' FROM generate_series(1, 16) n;
INSERT INTO signed VALUES ('nobody');
INSERT INTO signed_contract (id, client_id, title, by_whom) SELECT 200 + n, 1 + n % 8, 'signed ' || n, 'me' FROM generate_series(1, 8) n;
INSERT INTO page SELECT id, n FROM ONLY document, generate_series(1, 2) n;
