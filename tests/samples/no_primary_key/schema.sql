-- Tables without a primary key: a log in which the same row stands twice, one whose key is only
-- unique and not null, one whose unique column may be NULL, a link table of two foreign keys, a
-- shared table without a key. Rows that are equal must stay as many as they are.

CREATE TABLE client (id bigint PRIMARY KEY, country char(2) NOT NULL);

CREATE TABLE login (client_id bigint NOT NULL REFERENCES client, at timestamp NOT NULL, address inet);
CREATE INDEX login_client ON login (client_id, at);
ALTER TABLE login REPLICA IDENTITY FULL;

CREATE TABLE device (client_id bigint NOT NULL REFERENCES client, serial text NOT NULL UNIQUE);

CREATE TABLE voucher (client_id bigint NOT NULL REFERENCES client, code text UNIQUE, value numeric);

CREATE TABLE topic (id int PRIMARY KEY, title text NOT NULL);
CREATE TABLE interest (client_id bigint REFERENCES client, topic_id int REFERENCES topic);

CREATE TABLE holiday (day date, title text, topic_id int REFERENCES topic);

INSERT INTO client SELECT n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4] FROM generate_series(1, 8) n;
INSERT INTO login SELECT 1 + n % 8, timestamp '2024-01-01' + (n % 8) * interval '1 day',
  CASE WHEN n % 2 = 0 THEN inet '10.0.0.1' END FROM generate_series(1, 64) n;
INSERT INTO device SELECT 1 + n % 8, 'S' || n FROM generate_series(1, 16) n;
INSERT INTO voucher SELECT 1 + n % 8, CASE WHEN n % 3 > 0 THEN 'V' || n END, n % 2 FROM generate_series(1, 24) n;
INSERT INTO topic VALUES (1, 'news'), (2, 'sport'), (3, 'NULL');
INSERT INTO interest SELECT c, t FROM generate_series(1, 8) c, generate_series(1, 2) t, generate_series(1, 2);
INSERT INTO interest SELECT c, NULL FROM generate_series(1, 8) c;
INSERT INTO interest VALUES (NULL, 1), (NULL, 1), (NULL, NULL);
INSERT INTO holiday VALUES ('2024-01-01', 'new year', 1), ('2024-01-01', 'new year', 1), (NULL, NULL, NULL);
