-- Tenants share one schema: every table has tenant_id, in its key and in every foreign key. The key of a
-- row is only unique within its tenant, two tables refer to each other, and users may be invited to a
-- project by a user of their own tenant only.

CREATE TABLE tenant (id integer PRIMARY KEY, name text NOT NULL, country char(2) NOT NULL);
CREATE TABLE member (
  tenant_id integer NOT NULL REFERENCES tenant,
  id integer NOT NULL,
  email text NOT NULL,
  current_project_id integer,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, email)
);
CREATE TABLE project (
  tenant_id integer NOT NULL REFERENCES tenant,
  id integer NOT NULL,
  owner_id integer NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, owner_id) REFERENCES member
);
ALTER TABLE member ADD FOREIGN KEY (tenant_id, current_project_id) REFERENCES project
  ON DELETE SET NULL (current_project_id);
CREATE TABLE task (
  id bigint GENERATED ALWAYS AS IDENTITY,
  tenant_id integer NOT NULL,
  project_id integer NOT NULL,
  assignee_id integer,
  parent_id bigint,
  title text NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (tenant_id, id),
  FOREIGN KEY (tenant_id, project_id) REFERENCES project ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, assignee_id) REFERENCES member,
  FOREIGN KEY (tenant_id, parent_id) REFERENCES task (tenant_id, id)
);
CREATE TABLE setting (tenant_id integer PRIMARY KEY REFERENCES tenant, body jsonb NOT NULL DEFAULT '{}');

INSERT INTO tenant SELECT n, 'tenant ' || n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4] FROM generate_series(1, 6) n;
-- The same ids in every tenant.
INSERT INTO member SELECT t, m, 'm' || m || '@example.org' FROM generate_series(1, 6) t, generate_series(1, 4) m;
INSERT INTO project SELECT t, p, 1 + p % 4 FROM generate_series(1, 6) t, generate_series(1, 2) p;
UPDATE member SET current_project_id = 1 + id % 2 WHERE id < 4;
INSERT INTO task (tenant_id, project_id, assignee_id, title)
  SELECT t, p, CASE WHEN n > 1 THEN n END, 'task ' || n FROM generate_series(1, 6) t, generate_series(1, 2) p, generate_series(1, 3) n;
INSERT INTO task (tenant_id, project_id, parent_id, title)
  SELECT tenant_id, project_id, id, 'part of ' || id FROM task WHERE id % 2 = 0;
INSERT INTO setting SELECT id, jsonb_build_object('theme', 'dark', 'seats', id) FROM tenant;
