-- Every type that PostgreSQL 18 has, and every nasty value of them.
--
-- "carried" holds what has an exact counterpart in BSON. Each column of "refused" that has a word
-- in front of its "_" holds at least one cell that has none. "limit" has such cells in its key.

CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE EXTENSION ltree;
CREATE EXTENSION cube;
CREATE EXTENSION isn;

CREATE TYPE mood AS ENUM ('sad', 'so so', 'it''s, "ok" \');
CREATE TYPE place AS (street text, "no. 1" integer, since timestamptz, "$gps" point, moods mood[]);
CREATE TYPE stay AS (at place, rooms place[], nights daterange, note jsonb, paid numeric);
CREATE TYPE words AS RANGE (subtype = text, collation = "C");
CREATE TYPE hours AS RANGE (subtype = time);
CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN numbers AS integer[];
CREATE DOMAIN home AS place;
CREATE DOMAIN season AS daterange NOT NULL DEFAULT 'empty';
CREATE DOMAIN handle AS citext;

CREATE TABLE client (id bigint PRIMARY KEY, land text NOT NULL);
INSERT INTO client VALUES (1, 'DE'), (2, 'US'), (3, 'DE'), (-9223372036854775808, 'US'),
  (9223372036854775807, 'DE');

CREATE TABLE carried (
  id integer PRIMARY KEY,
  client_id bigint NOT NULL REFERENCES client,
  int2 smallint, int4 integer, int8 bigint,
  exact numeric, money_like numeric(18,2), percent percent, negative_scale numeric(5,-2),
  float4 real, float8 double precision,
  yes boolean,
  text text, varchar varchar(4), char char(4), one "char", name name, citext citext, handle handle,
  latin text COLLATE "C",
  mood mood, moods mood[],
  bytea bytea, uuid uuid,
  date date, timestamp timestamp, timestamp0 timestamp(0), timestamptz timestamptz,
  time time, timetz timetz, interval interval, interval_day interval day to second,
  json json, jsonb jsonb, jsonpath jsonpath, hstore hstore,
  bit bit(3), varbit varbit, money money,
  inet inet, cidr cidr, macaddr macaddr, macaddr8 macaddr8,
  point point, line line, lseg lseg, box box, path path, polygon polygon, circle circle, cube cube,
  tsvector tsvector, tsquery tsquery, ltree ltree, lquery lquery, isbn isbn,
  oid oid, xid xid, xid8 xid8, cid cid, tid tid, pg_lsn pg_lsn, snapshot pg_snapshot,
  old_snapshot txid_snapshot, int2vector int2vector, oidvector oidvector, aclitem aclitem,
  regclass regclass, regtype regtype, regproc regproc, regprocedure regprocedure, regrole regrole,
  regnamespace regnamespace, regconfig regconfig, regdictionary regdictionary,
  regoperator regoperator, regcollation regcollation,
  int4range int4range, int8range int8range, numrange numrange, daterange daterange,
  tsrange tsrange, tstzrange tstzrange, words words, hours hours, season season,
  int4multirange int4multirange, nummultirange nummultirange, tstzmultirange tstzmultirange,
  place place, home home, stay stay,
  ints integer[], deep integer[], texts text[], moments timestamptz[], days date[], dates numbers,
  lists numbers[], exacts numeric[], floats double precision[], jsonbs jsonb[], jsons json[],
  places place[], homes home[], ranges int4range[], spans tstzrange[], multiranges int4multirange[],
  uuids uuid[], byteas bytea[], intervals interval[], citexts citext[], inets inet[], names name[],
  "_id" text, "a.b" text, "$c" text, "date_us" integer, "timestamptz_us" integer,
  twice numeric GENERATED ALWAYS AS (money_like * 2) STORED
);

INSERT INTO carried (id, client_id) SELECT n, 1 + n % 3 FROM generate_series(1, 3) n;
INSERT INTO carried (id, client_id, season) VALUES (-2147483648, -9223372036854775808, '(,)'),
  (2147483647, 9223372036854775807, '[2024-01-01,)');

-- The ordinary.
INSERT INTO carried VALUES (10, 1,
  1, 2, 3, 1.50, 12.34, 99.99, 12300, 0.1, 0.1, true,
  'a', 'b', 'c', 'd', 'e', 'F', 'G', 'h', 'so so', '{sad,NULL}',
  '\x00ff', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  '2024-02-29', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.5',
  '2024-10-27 02:30:00.654321 Europe/Copenhagen', '12:34:56.789', '12:34:56+05:45', '1 mon', '1 day',
  '{"b": 1,  "a": 2}', '{"b": 1, "a": [1.50, null]}', '$.a[*] ? (@ > 1)', 'a=>1, b=>NULL',
  '101', '10', '12.34', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
  '(1,2.5)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(1,0))',
  '<(0,0),1>', '(1,2),(3,4)',
  'a:1A b:2', 'a & !b:*', 'top.science', '*.science', '978-0-393-04002-9',
  1, '2', '3', '4', '(0,1)', '16/B374D848', '10:20:10,14', '10:20:10,14', '1 2', '1 2',
  'pg_monitor=r/pg_monitor',
  'pg_class', 'integer', 'now', 'lower(text)', 'pg_monitor', 'pg_catalog', 'english', 'simple',
  '+(integer,integer)', '"C"',
  '[1,5)', '[1,)', '[1.0,2.50]', '[2024-01-01,2024-01-31]', '[2024-01-01,2024-01-02)',
  '(2024-01-01 00:00:00.000001+00,)', '[a,"b c")', '[08:00,24:00)', 'empty',
  '{[1,3),[5,9]}', '{[1.50,2]}', '{(,2024-01-01 00:00+00)}',
  ROW('s', 1, '2024-01-01 00:00:00.000001+00', '(1,2)', '{sad,NULL}'),
  ROW('s', NULL, NULL, NULL, NULL),
  ROW(ROW('x', 1, NULL, NULL, '{}'), ARRAY[ROW('y', 2, NULL, NULL, NULL)::place, NULL],
      '[2024-01-01,2024-01-05)', '{"$ref": "x", "$id": 1}', 1.500),
  '{1,NULL,3}', '{{1,2},{3,NULL}}', '{"",NULL,"NULL","a,b","{}"}',
  '{"2024-01-01 00:00:00.000001+00",NULL}', '{2024-01-01}', '{1,2}',
  '{"{1,2}",NULL,"{}","{{1},{2}}"}', '{1.50,NaN,NULL}', '{0.1,NaN,-0}',
  ARRAY['[1, 2]', 'null', NULL, '{"a": 1}']::jsonb[], ARRAY['{"a":1,"a":2}', NULL]::json[],
  ARRAY[ROW('y', 2, NULL, NULL, NULL)::place, NULL, ROW(NULL, NULL, NULL, NULL, NULL)::place],
  ARRAY[ROW('y', 2, NULL, NULL, NULL)::place, NULL]::home[],
  '{"[1,5)",NULL,empty}', '{"[2024-01-01 00:00:00.000001+00,)"}', '{"{[1,2]}","{}",NULL}',
  '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', ARRAY['\x00', NULL]::bytea[], '{"1 mon",NULL}',
  '{a,B}', '{10.0.0.1,::1/64}', '{a}',
  'an id', 'a dot', 'a dollar', 7, 8);

-- The ends of what there is.
INSERT INTO carried (id, client_id, int2, int4, int8, exact, money_like, float4, float8, text, varchar,
  char, name, bytea, date, timestamp, timestamptz, time, timetz, interval, json, jsonb, oid,
  regclass, numrange, int4range, daterange, words, stay, place, deep, texts, varbit, tsvector,
  inet, ltree, hstore) VALUES
  (11, 2, -32768, -2147483648, -9223372036854775808, 'NaN', 'NaN', 'NaN', 'NaN', '', '', '', '', '',
   '4713-01-01 BC', '4713-11-24 00:00:00.123456 BC', '4713-11-25 00:00:00.000999 BC', '24:00',
   '24:00-12:30', '1 mon -30 days', '{"a": 1, "a":  2, "": "\u0000"}', '{}', 0, '-', '(,)', '(,)',
   '(,)', '(,)', ROW(NULL, NULL, NULL, NULL, NULL), ROW(NULL, NULL, NULL, NULL, NULL), '{}', '{}',
   '', '', '::', '', ''),
  (12, 3, 32767, 2147483647, 9223372036854775807, 'Infinity', 0, 'Infinity', 'Infinity',
   E'tab\t nl\n cr\r back\\ quote" '' \x01\x7f äöü 漢 🂡 \u2028', '😀😀😀😀', 'ab  ',
   repeat('n', 63)::name, '\x5c27', '5874897-12-31', '294276-12-31 23:59:59.999999',
   '294276-12-31 23:59:59.999999+00', '00:00', '00:00+15', '-178000000 years', '1e400',
   '[9223372036854775807, 9223372036854775808, 1e400, 1.50, -0.0, "null", null]', 4294967295,
   '4294967295', '[-Infinity,NaN]', 'empty', 'empty', '["",]', NULL, NULL,
   '{{{1}},{{2}}}', '{{a,b},{c,d}}', repeat('10', 500)::varbit, 'a:1', '::1/128', 'a.b', '""=>""'),
  (13, 1, 0, 0, 0, '-Infinity', 0.01, '-Infinity', '-Infinity', 'null', 'null', 'null', 'null', '\x00',
   '0001-12-31 BC', '0001-12-31 BC', '1883-11-18 12:03:57.5 America/New_York', '23:59:59.999999',
   '12:34:56.789012+02', '178000000 years', 'null',
   '{"": {"": [1, {"$ref": "x", "$id": 1, "$db": null}]}, "a.b": 1, "$c": 2, "_id": 3}', 1, '1259',
   '[-0.0,0.00]', '[-2147483648,2147483647)', '[4713-01-01 BC,]', NULL, NULL, NULL, NULL, NULL, '0',
   NULL, '0.0.0.0/0', NULL, 'NULL=>"NULL"'),
  (14, 2, NULL, NULL, NULL, -0.0, -0.00, '-0.0', '-0.0', ' ', ' a  ', ' a', ' ', NULL, '1969-12-31',
   '1969-12-31 23:59:59.999999', '2024-10-27 00:30:00.654321+00', NULL, NULL,
   '2562047788:00:54.775807', '"\ud800"', '"\u00e9\ud83d\ude00\b\f\u001f\u007f\/\\\""', NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (15, 3, NULL, NULL, NULL, 1234567890123456789012345678901234, NULL, '1e-45', '5e-324', '$a.b', NULL,
   NULL, NULL, NULL, '1970-01-01', '1970-01-01', '1970-01-01 00:00+00', NULL, NULL,
   '-00:00:00.000001', '[]', (repeat('[', 99) || repeat(']', 99))::jsonb, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (16, 1, NULL, NULL, NULL, 0.1234567890123456789012345678901234, NULL, '3.4028235e38', '1e308',
   repeat('x', 100000), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   '{"n": [1234567890123456789012345678901234, 0.1234567890123456789012345678901234]}', NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (17, 2, NULL, NULL, NULL, 1e6144, NULL, '16777217', '0.30000000000000004', NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '1e40', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

-- One cell to a row that BSON cannot hold, but for the rows below 10.
CREATE TABLE refused (
  id integer PRIMARY KEY,
  client_id bigint NOT NULL REFERENCES client,
  much_numeric numeric, much_declared numeric(40,2), much_range numrange, much_array numeric[],
  endless_date date, endless_timestamp timestamp, endless_timestamptz timestamptz,
  endless_interval interval, endless_range daterange, endless_multirange tstzmultirange,
  endless_array timestamptz[], endless_composite place, endless_deep stay[], endless_domain season,
  odd_jsonb jsonb, odd_array integer[], odd_texts text[], odd_composite stay, odd_ranges numrange[]
);
INSERT INTO refused VALUES (1, 1, 1.5, 2.50, '[1,2)', '{1}', '2024-01-01', '2024-01-01', '2024-01-01',
  '1 day', '(,)', '{(,)}', '{2024-01-01}', ROW('s', 1, NULL, NULL, NULL), '{}', '(,)', '{}', '{1}',
  '{a}', NULL, '{}');
INSERT INTO refused (id, client_id, endless_domain) VALUES (2, 2, '[2024-01-01,2024-02-01)');
INSERT INTO refused (id, client_id, much_numeric) VALUES
  (10, 1, 12345678901234567890123456789012345), (11, 1, 0.12345678901234567890123456789012345),
  (12, 2, 1234567890123456789012345678901234.0), (13, 2, 1e6145), (14, 3, 1e-6177);
INSERT INTO refused (id, client_id, much_declared) VALUES (20, 1, 12345678901234567890123456789012345.12);
INSERT INTO refused (id, client_id, much_range) VALUES (30, 1, '[0,12345678901234567890123456789012345)');
INSERT INTO refused (id, client_id, much_array) VALUES (40, 1, '{1,NULL,1e-6177}');
INSERT INTO refused (id, client_id, endless_date) VALUES (50, 1, 'infinity'), (51, 2, '-infinity');
INSERT INTO refused (id, client_id, endless_timestamp) VALUES (60, 1, 'infinity'), (61, 2, '-infinity');
INSERT INTO refused (id, client_id, endless_timestamptz) VALUES (70, 1, 'infinity'), (71, 2, '-infinity');
INSERT INTO refused (id, client_id, endless_range) VALUES (90, 1, '[2024-01-01,infinity)'), (91, 2, '[-infinity,)');
INSERT INTO refused (id, client_id, endless_multirange) VALUES (100, 1, '{[2024-01-01,infinity)}');
INSERT INTO refused (id, client_id, endless_array) VALUES (110, 1, '{NULL,-infinity}');
INSERT INTO refused (id, client_id, endless_composite) VALUES (120, 1, ROW(NULL, NULL, 'infinity', NULL, NULL));
INSERT INTO refused (id, client_id, endless_deep) VALUES
  (130, 1, ARRAY[NULL, ROW(NULL, ARRAY[ROW(NULL, NULL, 'infinity', NULL, NULL)::place], NULL, NULL, NULL)::stay]);
INSERT INTO refused (id, client_id, endless_domain) VALUES (140, 1, '[2024-01-01,infinity)');
INSERT INTO refused (id, client_id, odd_jsonb) VALUES (150, 1, 'null'), (151, 1, '1e6145'),
  (152, 2, '{"a": [{"b": 12345678901234567890123456789012345}]}'),
  (153, 2, (repeat('[', 100) || repeat(']', 100))::jsonb),
  (154, 3, (repeat('{"a":', 1200) || '1' || repeat('}', 1200))::jsonb);
INSERT INTO refused (id, client_id, odd_array) VALUES (160, 1, '[0:1]={1,2}'), (161, 2, '[1:1][-2:-1]={{1,2}}');
INSERT INTO refused (id, client_id, odd_texts) VALUES (170, 1, '[5:5]={a}');
INSERT INTO refused (id, client_id, odd_composite) VALUES (180, 1, ROW(NULL, NULL, NULL, 'null', NULL)),
  (181, 2, ROW(ROW(NULL, NULL, NULL, NULL, '[0:0]={sad}')::place, NULL, NULL, NULL, NULL));
INSERT INTO refused (id, client_id, odd_ranges) VALUES (190, 1, '[2:2]={"[1,2)"}');

CREATE TABLE "limit" (
  client_id bigint NOT NULL REFERENCES client,
  until timestamptz,
  amount numeric,
  PRIMARY KEY (client_id, until)
);
INSERT INTO "limit" VALUES (1, 'infinity', 1), (1, '2024-01-01 00:00:00.000001+00', 2), (2, '-infinity', 3);
CREATE TABLE used (
  id integer PRIMARY KEY,
  client_id bigint NOT NULL,
  until timestamptz NOT NULL,
  FOREIGN KEY (client_id, until) REFERENCES "limit"
);
INSERT INTO used VALUES (1, 1, 'infinity'), (2, 1, '2024-01-01 00:00:00.000001+00'), (3, 2, '-infinity');
