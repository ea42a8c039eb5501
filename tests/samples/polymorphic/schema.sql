-- A forge: notes, labels and events refer to issues, merge requests and projects by the pair of type and id,
-- without a foreign key; but all of them know their project. Namespaces stand in a tree with a path of ids
-- in an array, and soft references by name.

CREATE TABLE namespaces (
  id bigserial PRIMARY KEY, path varchar NOT NULL, parent_id bigint REFERENCES namespaces ON DELETE CASCADE, traversal_ids integer[] DEFAULT '{}' NOT NULL,
  country char(2) NOT NULL
);
CREATE UNIQUE INDEX index_namespaces_path ON namespaces (parent_id, path);
CREATE INDEX index_namespaces_traversal ON namespaces USING gin (traversal_ids);
CREATE TABLE users (id bigserial PRIMARY KEY, username varchar NOT NULL, namespace_id bigint NOT NULL REFERENCES namespaces ON DELETE CASCADE, settings jsonb DEFAULT '{}' NOT NULL);
CREATE UNIQUE INDEX index_users_username ON users (lower((username)::text));
CREATE TABLE projects (id bigserial PRIMARY KEY, namespace_id bigint NOT NULL REFERENCES namespaces, creator_id bigint, forked_from bigint REFERENCES projects ON DELETE SET NULL);
CREATE TABLE issues (
  id bigserial PRIMARY KEY, iid integer NOT NULL, project_id bigint NOT NULL REFERENCES projects ON DELETE CASCADE, author_id bigint REFERENCES users ON DELETE SET NULL,
  duplicated_to_id bigint REFERENCES issues ON DELETE SET NULL, title text
);
CREATE UNIQUE INDEX index_issues_iid ON issues (project_id, iid);
CREATE TABLE merge_requests (id bigserial PRIMARY KEY, source_project_id bigint REFERENCES projects ON DELETE SET NULL, target_project_id bigint NOT NULL REFERENCES projects ON DELETE CASCADE);
CREATE TABLE notes (
  id bigserial PRIMARY KEY, noteable_type varchar NOT NULL, noteable_id bigint NOT NULL, project_id bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
  author_id bigint REFERENCES users ON DELETE SET NULL, note text
);
CREATE INDEX index_notes ON notes (noteable_type, noteable_id);
CREATE TABLE labels (id bigserial PRIMARY KEY, title varchar NOT NULL, project_id bigint NOT NULL REFERENCES projects ON DELETE CASCADE);
CREATE TABLE label_links (id bigserial PRIMARY KEY, label_id bigint NOT NULL REFERENCES labels ON DELETE CASCADE, target_type varchar, target_id bigint);

INSERT INTO namespaces (path, country) SELECT 'group' || n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4] FROM generate_series(1, 6) n;
INSERT INTO namespaces (path, parent_id, country) SELECT 'sub', id, country FROM namespaces WHERE id % 2 = 0;
UPDATE namespaces SET traversal_ids = array_remove(ARRAY[parent_id, id]::int[], NULL);
INSERT INTO users (username, namespace_id) SELECT 'User' || n, 1 + n % 9 FROM generate_series(1, 12) n;
INSERT INTO projects (namespace_id, creator_id) SELECT 1 + n % 9, 1 + n % 12 FROM generate_series(1, 18) n;
UPDATE projects SET forked_from = id - 1 WHERE id % 3 = 0;
INSERT INTO issues (iid, project_id, author_id, title) SELECT n, 1 + n % 18, 1 + n % 12, 'issue' FROM generate_series(1, 40) n;
UPDATE issues SET duplicated_to_id = id - 1 WHERE id % 4 = 0;
INSERT INTO merge_requests (source_project_id, target_project_id) SELECT p.id, coalesce(p.forked_from, p.id) FROM projects p;
INSERT INTO notes (noteable_type, noteable_id, project_id, author_id, note) SELECT 'Issue', id, project_id, 1 + (id * 7) % 12, 'lgtm' FROM issues;
INSERT INTO notes (noteable_type, noteable_id, project_id, note) SELECT 'MergeRequest', id, target_project_id, 'ok' FROM merge_requests;
INSERT INTO labels (title, project_id) SELECT 'bug', id FROM projects;
INSERT INTO label_links (label_id, target_type, target_id) SELECT project_id, 'Issue', id FROM issues;
