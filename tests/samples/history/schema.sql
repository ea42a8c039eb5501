-- A chain of seven tables below the client, each row knowing only the one above it, and a region that is
-- three hops away from the client: its branch, the branch's town, the town's country.

CREATE TABLE country (code char(2) PRIMARY KEY, title text NOT NULL);
CREATE TABLE town (id int PRIMARY KEY, country_code char(2) NOT NULL REFERENCES country);
CREATE TABLE branch (id int PRIMARY KEY, town_id int NOT NULL REFERENCES town);
CREATE TABLE client (id bigint PRIMARY KEY, branch_id int NOT NULL REFERENCES branch);
CREATE TABLE contract (id bigint PRIMARY KEY, client_id bigint NOT NULL REFERENCES client);
CREATE TABLE policy (id bigint PRIMARY KEY, contract_id bigint NOT NULL REFERENCES contract);
CREATE TABLE policy_version (
  policy_id bigint NOT NULL REFERENCES policy, version smallint NOT NULL, valid daterange NOT NULL,
  PRIMARY KEY (policy_id, version)
);
CREATE TABLE claim (
  id bigint PRIMARY KEY, policy_id bigint NOT NULL, version smallint NOT NULL,
  FOREIGN KEY (policy_id, version) REFERENCES policy_version
);
CREATE TABLE damage (claim_id bigint NOT NULL REFERENCES claim ON DELETE CASCADE, no smallint NOT NULL, PRIMARY KEY (claim_id, no));
CREATE TABLE estimate (
  id bigint PRIMARY KEY, claim_id bigint NOT NULL, no smallint NOT NULL, total money NOT NULL,
  FOREIGN KEY (claim_id, no) REFERENCES damage ON DELETE CASCADE
);
CREATE TABLE estimate_line (estimate_id bigint NOT NULL REFERENCES estimate, line smallint NOT NULL, body text, PRIMARY KEY (estimate_id, line));

INSERT INTO country VALUES ('DE', 'Germany'), ('FR', 'France'), ('US', 'United States'), ('CA', 'Canada');
INSERT INTO town SELECT n, (ARRAY['DE', 'US', 'FR', 'CA'])[n] FROM generate_series(1, 4) n;
INSERT INTO branch SELECT n, 1 + n % 4 FROM generate_series(1, 8) n;
INSERT INTO client SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO contract SELECT n, 1 + n % 16 FROM generate_series(1, 24) n;
INSERT INTO policy SELECT n, 1 + n % 24 FROM generate_series(1, 32) n;
INSERT INTO policy_version SELECT id, v, daterange(date '2020-01-01' + v, NULL) FROM policy, generate_series(1, 2) v;
INSERT INTO claim SELECT row_number() OVER (ORDER BY policy_id, version), policy_id, version FROM policy_version;
INSERT INTO damage SELECT id, n FROM claim, generate_series(1, 2) n;
INSERT INTO estimate SELECT row_number() OVER (ORDER BY claim_id, no), claim_id, no, 12.34 FROM damage;
INSERT INTO estimate_line SELECT id, n, 'line' FROM estimate, generate_series(1, 2) n;
