-- Names that need quotes, are reserved, hold spaces, dots, quotes, percent signs, colons, dollar signs,
-- backslashes and line ends, are of other scripts, fill 63 bytes, or differ only behind the 60th byte: of
-- tables, columns, constraints, indexes, types, sequences.

CREATE TABLE "user" (
  "order" bigint PRIMARY KEY,
  "group" text CONSTRAINT "check" CHECK ("group" <> 'select'),
  "Country Code" char(2) NOT NULL,
  "100%" numeric,
  "it's" text,
  "say ""hi""" text,
  "a.b" text,
  ":name" text DEFAULT ':value',
  "$dollar$" text,
  "back\slash" text,
  "two
lines" text,
  "%(percent)s" text DEFAULT '100%',
  CONSTRAINT "unique" UNIQUE ("group", "order")
);
CREATE UNIQUE INDEX "select" ON "user" ("a.b", "it's");
CREATE INDEX "index %s :x" ON "user" ("100%" DESC NULLS LAST) WHERE "100%" > 0;

CREATE TYPE "type with space" AS ENUM ('it''s', '50 %', 'a:b', 'ä', '');
CREATE SEQUENCE "Sequence.With Dot";

CREATE TABLE "transaction" (
  id bigint DEFAULT nextval('"Sequence.With Dot"') PRIMARY KEY,
  "user" bigint NOT NULL CONSTRAINT "foreign" REFERENCES "user",
  "type" "type with space" NOT NULL DEFAULT 'it''s',
  "end" timestamptz,
  "primary" boolean DEFAULT false
);
CREATE TABLE "order" ("select" bigint NOT NULL REFERENCES "transaction", "from" int NOT NULL, "where" text, PRIMARY KEY ("select", "from"));
CREATE TABLE "group" ("table" text PRIMARY KEY, "limit" int);
ALTER TABLE "user" ADD CONSTRAINT "user.group" FOREIGN KEY ("group") REFERENCES "group" ("table");

CREATE TABLE "with space" ("id." bigint PRIMARY KEY, "user id" bigint NOT NULL REFERENCES "user", UNIQUE ("user id", "id."));
CREATE TABLE "dotted.table" ("pri.mary" bigint PRIMARY KEY, "with.space" bigint NOT NULL REFERENCES "with space" ("id."));
CREATE TABLE "quo""ted" ("k""ey" bigint PRIMARY KEY, "dot.ted" bigint REFERENCES "dotted.table");
CREATE TABLE "%s" ("%" bigint PRIMARY KEY, ":" bigint NOT NULL REFERENCES "user");

-- 63 bytes: Latin with accents, Cyrillic, Greek, Chinese, emoji; and two that differ in their last byte.
CREATE TABLE "Kundenverhältnisänderungsbestätigungsschreibensempfänger_ä" (
  "идентификатор_клиента_банка_12АБВГ" bigint PRIMARY KEY,
  "αριθμός_λογαριασμού_πελάτη_1234αβγδ" bigint NOT NULL REFERENCES "user",
  "客户银行账户交易记录编号字段名称一二三四五" text UNIQUE
);
CREATE TABLE "客户银行账户交易记录编号表格名称一二三四五" ("键" bigint PRIMARY KEY, "客户" bigint NOT NULL REFERENCES "user");
CREATE TABLE "таблица_с_очень_длинным_именем_АБ_1" (id bigint PRIMARY KEY, "клиент" bigint NOT NULL,
  CONSTRAINT "таблица_с_очень_длинным_именем_АБ_1" FOREIGN KEY ("клиент") REFERENCES "user");
CREATE INDEX "таблица_с_очень_длинным_именем_АБ_2" ON "таблица_с_очень_длинным_именем_АБ_1" ("клиент", id);
CREATE TABLE "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀abc" (id bigint PRIMARY KEY, "user" bigint NOT NULL REFERENCES "user");
CREATE TABLE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (id bigint PRIMARY KEY, u bigint NOT NULL REFERENCES "user", e text UNIQUE);
CREATE TABLE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab (id bigint PRIMARY KEY, u bigint NOT NULL REFERENCES "user", e text UNIQUE);
-- Names that become equal with _eu, with $ taken out, and in another case.
CREATE TABLE "a" (id bigint PRIMARY KEY, u bigint NOT NULL REFERENCES "user");
CREATE TABLE "a_eu" (id bigint PRIMARY KEY, u bigint NOT NULL REFERENCES "user");
CREATE TABLE "a$eu" (id bigint PRIMARY KEY, u bigint NOT NULL REFERENCES "user");
CREATE TABLE "A" (id bigint PRIMARY KEY, u bigint NOT NULL REFERENCES "user");
CREATE TABLE "system.users" (id bigint PRIMARY KEY, u bigint NOT NULL REFERENCES "user");
-- Fields that MongoDB uses or forbids: _id, a dollar first, a dot inside, region_us for a timestamp's rest.
CREATE TABLE fields (
  _id bigint PRIMARY KEY, "$set" bigint NOT NULL REFERENCES "user", "a.b.c" text, "at" timestamptz, at_us int, "__proto__" text
);

INSERT INTO "group" VALUES ('g', 1), ('h', 2);
INSERT INTO "user" ("order", "group", "Country Code", "100%", "it's", "a.b")
  SELECT n, CASE WHEN n % 2 = 0 THEN 'g' END, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4], n, 'x', 'y' || n FROM generate_series(1, 8) n;
INSERT INTO "transaction" ("user", "type") SELECT 1 + n % 8, (ARRAY['it''s', '50 %', 'a:b', 'ä', ''])[1 + n % 5]::"type with space" FROM generate_series(1, 16) n;
INSERT INTO "order" SELECT id, n, '%' FROM "transaction", generate_series(1, 2) n;
INSERT INTO "with space" SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO "dotted.table" SELECT n, n FROM generate_series(1, 16) n;
INSERT INTO "quo""ted" SELECT n, n FROM generate_series(1, 16) n;
INSERT INTO "%s" SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO "Kundenverhältnisänderungsbestätigungsschreibensempfänger_ä" SELECT n, 1 + n % 8, '第' || n FROM generate_series(1, 16) n;
INSERT INTO "客户银行账户交易记录编号表格名称一二三四五" SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO "таблица_с_очень_длинным_именем_АБ_1" SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO "😀😀😀😀😀😀😀😀😀😀😀😀😀😀😀abc" SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa SELECT n, 1 + n % 8, 'e' || n FROM generate_series(1, 16) n;
INSERT INTO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab SELECT n, 1 + n % 8, 'e' || n FROM generate_series(1, 16) n;
INSERT INTO "a" SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO "a_eu" SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO "a$eu" SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO "A" SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO "system.users" SELECT n, 1 + n % 8 FROM generate_series(1, 16) n;
INSERT INTO fields SELECT n, 1 + n % 8, 'x', timestamptz '2024-01-01 00:00:00.123456+00', 7, 'p' FROM generate_series(1, 16) n;
