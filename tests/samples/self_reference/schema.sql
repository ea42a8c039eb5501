-- Tables that refer to themselves: documents of a client in a tree of any depth, whose key is
-- deferred; comments of a document that answer each other; clients who were brought by another client,
-- of another region too; and shared staff with managers.

CREATE TABLE client (
  id bigint PRIMARY KEY,
  country char(2) NOT NULL,
  brought_by bigint REFERENCES client ON DELETE SET NULL,
  CHECK (brought_by <> id)
);

CREATE TABLE document (
  id bigint PRIMARY KEY,
  client_id bigint NOT NULL REFERENCES client,
  parent_id bigint REFERENCES document DEFERRABLE INITIALLY DEFERRED,
  title text NOT NULL,
  UNIQUE (client_id, id)
);

CREATE TABLE comment (
  client_id bigint NOT NULL,
  document_id bigint NOT NULL,
  no smallint NOT NULL,
  answers smallint,
  PRIMARY KEY (client_id, document_id, no),
  FOREIGN KEY (client_id, document_id) REFERENCES document (client_id, id) ON DELETE CASCADE,
  FOREIGN KEY (client_id, document_id, answers) REFERENCES comment
);

CREATE TABLE employee (id int PRIMARY KEY, manager_id int REFERENCES employee, name text NOT NULL);
CREATE TABLE call (
  id bigint PRIMARY KEY, client_id bigint NOT NULL REFERENCES client, employee_id int NOT NULL REFERENCES employee
);

INSERT INTO client SELECT n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4], NULLIF(n / 2, 0)
  FROM generate_series(1, 12) n;
-- A child comes before its parent: only a deferred key allows it in this order.
BEGIN;
INSERT INTO document SELECT n, 1 + n % 12, CASE WHEN n + 12 <= 96 THEN n + 12 END, 'd' || n
  FROM generate_series(1, 96) n;
COMMIT;
INSERT INTO comment SELECT client_id, id, no, NULLIF(no - 1, 0) FROM document, generate_series(1, 3) no
  WHERE id % 5 = 0 ORDER BY no;
INSERT INTO employee VALUES (1, NULL, 'Boss'), (2, 1, 'Clerk'), (3, 2, 'Trainee');
INSERT INTO call SELECT n, 1 + n % 12, 1 + n % 3 FROM generate_series(1, 24) n;
