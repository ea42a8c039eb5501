-- A business suite: everything was created and changed by a user, users are partners, and partners are the
-- clients. By those keys alone a country would follow the partner of whoever typed it in. Partners stand in
-- a tree (a company and its people), and the tables between two tables have no primary key.

CREATE TABLE res_users (
  id serial PRIMARY KEY, login text NOT NULL UNIQUE, partner_id integer NOT NULL, create_uid integer REFERENCES res_users ON DELETE SET NULL
);
CREATE TABLE res_country (
  id serial PRIMARY KEY, code char(2) UNIQUE, name jsonb NOT NULL,
  create_uid integer REFERENCES res_users ON DELETE SET NULL, write_uid integer REFERENCES res_users ON DELETE SET NULL, write_date timestamp
);
CREATE TABLE res_partner (
  id serial PRIMARY KEY, name text, parent_id integer REFERENCES res_partner ON DELETE SET NULL,
  country_id integer NOT NULL REFERENCES res_country ON DELETE RESTRICT, user_id integer REFERENCES res_users ON DELETE SET NULL,
  create_uid integer REFERENCES res_users ON DELETE SET NULL, write_uid integer REFERENCES res_users ON DELETE SET NULL, write_date timestamp
);
ALTER TABLE res_users ADD CONSTRAINT res_users_partner_id_fkey FOREIGN KEY (partner_id) REFERENCES res_partner ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE res_partner_category (id serial PRIMARY KEY, name text NOT NULL, parent_id integer REFERENCES res_partner_category ON DELETE CASCADE, create_uid integer REFERENCES res_users ON DELETE SET NULL);
CREATE TABLE res_partner_res_partner_category_rel (
  category_id integer NOT NULL REFERENCES res_partner_category ON DELETE CASCADE, partner_id integer NOT NULL REFERENCES res_partner ON DELETE CASCADE,
  UNIQUE (partner_id, category_id)
);
CREATE INDEX ON res_partner_res_partner_category_rel (category_id);
CREATE TABLE product (id serial PRIMARY KEY, name text NOT NULL, list_price numeric, create_uid integer REFERENCES res_users ON DELETE SET NULL);
CREATE TABLE sale_order (
  id serial PRIMARY KEY, name varchar NOT NULL, partner_id integer NOT NULL REFERENCES res_partner ON DELETE RESTRICT,
  partner_invoice_id integer NOT NULL REFERENCES res_partner ON DELETE RESTRICT, user_id integer REFERENCES res_users ON DELETE SET NULL,
  amount_total numeric, create_uid integer REFERENCES res_users ON DELETE SET NULL, state varchar DEFAULT 'draft'
);
CREATE TABLE sale_order_line (
  id serial PRIMARY KEY, order_id integer NOT NULL REFERENCES sale_order ON DELETE CASCADE, product_id integer REFERENCES product ON DELETE RESTRICT,
  order_partner_id integer REFERENCES res_partner ON DELETE SET NULL, price_unit numeric NOT NULL, qty numeric(16, 3),
  create_uid integer REFERENCES res_users ON DELETE SET NULL
);

-- The users' own partners work for all clients, from partner 1, the company.
BEGIN;
INSERT INTO res_users (id, login, partner_id) VALUES (1, 'root', 2), (2, 'clerk', 3);
INSERT INTO res_country (code, name, create_uid, write_uid) SELECT c, jsonb_build_object('en_US', c), 1, 2 FROM unnest(ARRAY['DE', 'US', 'FR', 'CA']) c;
INSERT INTO res_partner (name, country_id) VALUES ('company', 1);
INSERT INTO res_partner (name, parent_id, country_id, create_uid) VALUES ('root', 1, 1, 1), ('clerk', 1, 2, 1);
COMMIT;
INSERT INTO res_partner (name, parent_id, country_id, user_id, create_uid, write_uid)
  SELECT 'partner ' || n, CASE WHEN n % 3 = 0 THEN n END, 1 + n % 4, 2, 1 + n % 2, 1 FROM generate_series(1, 12) n;
SELECT setval('res_users_id_seq', 2);
INSERT INTO res_partner_category (name, parent_id, create_uid) VALUES ('good', NULL, 1), ('better', 1, 2);
INSERT INTO res_partner_res_partner_category_rel SELECT c, p FROM generate_series(1, 2) c, generate_series(4, 15) p;
INSERT INTO product (name, list_price, create_uid) VALUES ('desk', 100, 1), ('chair', 50.5, 2);
-- Some invoices go to another partner.
INSERT INTO sale_order (name, partner_id, partner_invoice_id, user_id, amount_total, create_uid)
  SELECT 'S' || n, 4 + n % 12, 4 + (n + CASE WHEN n % 5 = 0 THEN 1 ELSE 0 END) % 12, 2, n, 2 FROM generate_series(1, 30) n;
INSERT INTO sale_order_line (order_id, product_id, order_partner_id, price_unit, qty, create_uid)
  SELECT o.id, p, o.partner_id, 9.99, 1.500, 1 FROM sale_order o, generate_series(1, 2) p;
