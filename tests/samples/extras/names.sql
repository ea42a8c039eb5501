-- Names that have to be quoted, for everything that a table has beside itself.
CREATE SCHEMA "Shop: ""50%""";
CREATE SCHEMA "größe-x";
SET search_path = "Shop: ""50%""";
CREATE EXTENSION citext;
CREATE EXTENSION pg_trgm SCHEMA "größe-x";
CREATE FUNCTION "größe-x"."is : it?"(v citext) RETURNS boolean LANGUAGE sql IMMUTABLE
  RETURN length(v) > 0;
CREATE DOMAIN "größe-x"."E-Mail %s" AS citext CONSTRAINT "has: %" CHECK ("größe-x"."is : it?"(VALUE));
CREATE TYPE "Mood.x" AS ENUM ('a.b', '-- regionkit: view x', 'it''s');
CREATE TYPE "größe-x"."Mood.x" AS ("a.b" "Mood.x", "c""d" text);
CREATE SEQUENCE "größe-x"."order" INCREMENT -1;
CREATE TABLE "Client" (
  "Id:" bigint PRIMARY KEY, country text NOT NULL, "e-mail" "größe-x"."E-Mail %s" NOT NULL,
  mood "Mood.x" NOT NULL DEFAULT 'a.b', whole "größe-x"."Mood.x",
  number bigint NOT NULL DEFAULT nextval('"größe-x"."order"'),
  UNIQUE ("Id:", "e-mail"));
CREATE TABLE "größe-x"."Client" (
  id bigint CONSTRAINT "pk %" PRIMARY KEY, "Client" bigint NOT NULL REFERENCES "Client", "select" text,
  CONSTRAINT "some: %s" CHECK ("select" <> 'größe-x.Client'));
CREATE INDEX "like : it" ON "größe-x"."Client" USING gin ("select" "größe-x".gin_trgm_ops);
CREATE VIEW region AS SELECT DISTINCT country AS code FROM "Client";
CREATE VIEW "Client_eu" AS SELECT * FROM "Client" WHERE country = 'de';
CREATE VIEW "Client_region" AS SELECT "Id:" FROM "Client";
CREATE VIEW "größe-x_Client" AS SELECT "Client".*, 'größe-x.Client'::text AS "a text" FROM "größe-x"."Client";
CREATE VIEW "größe-x"."a ""view"" : of % all" AS
  SELECT "Client".id, "Client"."select", o."e-mail", "größe-x"."is : it?"(o."e-mail"::citext) AS "is"
  FROM "größe-x"."Client" JOIN "Client" o ON o."Id:" = "Client"."Client";
CREATE MATERIALIZED VIEW "größe-x"."all of it" AS SELECT count(*) AS n FROM "größe-x"."a ""view"" : of % all";
CREATE UNIQUE INDEX "one: row" ON "größe-x"."all of it" (n);
CREATE FUNCTION "größe-x"."tr: %"() RETURNS trigger LANGUAGE plpgsql
  SET search_path = "größe-x", "Shop: ""50%""" AS $$
BEGIN
  -- regionkit: view "not a header"
  PERFORM 1 FROM "größe-x"."Client" WHERE "Client".id = new.id;
  EXECUTE format('SELECT 1 FROM "größe-x"."Client" WHERE "select" = %L', 'it''s');
  RETURN new;
END $$;
CREATE FUNCTION "größe-x"."tr: %"(a "größe-x"."Client", VARIADIC b text[] DEFAULT '{a,b}') RETURNS text
  LANGUAGE sql AS $_$ SELECT $1."select" || '$$' $_$;
CREATE TRIGGER "tr: 1%" BEFORE INSERT OR UPDATE OF "select" ON "größe-x"."Client"
  FOR EACH ROW WHEN (new."select" <> 'FOR EACH ROW WHEN (x)') EXECUTE FUNCTION "größe-x"."tr: %"('a, ''b''');
CREATE RULE "ru: 1%" AS ON UPDATE TO "größe-x"."Client" WHERE old."select" = ' DO '
  DO ALSO (SELECT 1; SELECT 2);
CREATE POLICY "po: 1%" ON "größe-x"."Client" USING (EXISTS (
  SELECT FROM "größe-x"."Client" o WHERE o.id = "Client".id));
ALTER TABLE "größe-x"."Client" ENABLE ROW LEVEL SECURITY;
CREATE STATISTICS "größe-x"."st: 1%" ON id, "select" FROM "größe-x"."Client";
COMMENT ON VIEW "größe-x"."a ""view"" : of % all" IS E'it''s 50%:\n-- regionkit: view x\n\\ "größe-x".y';
COMMENT ON CONSTRAINT "some: %s" ON "größe-x"."Client" IS '%s';
COMMENT ON INDEX "größe-x"."like : it" IS ':x';
COMMENT ON TRIGGER "tr: 1%" ON "größe-x"."Client" IS 'a';
COMMENT ON RULE "ru: 1%" ON "größe-x"."Client" IS 'b';
COMMENT ON POLICY "po: 1%" ON "größe-x"."Client" IS 'c';
COMMENT ON SCHEMA "größe-x" IS 'd';
INSERT INTO "Client" SELECT n, (ARRAY['de', 'us'])[n % 2 + 1], n || '@x', 'it''s',
  ROW('a.b', 'c')::"größe-x"."Mood.x" FROM generate_series(1, 10) n;
INSERT INTO "größe-x"."Client" SELECT n, n, 'x' || n FROM generate_series(1, 10) n;
REFRESH MATERIALIZED VIEW "größe-x"."all of it";
