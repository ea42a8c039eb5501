-- A blog, as the most widespread software for it keeps one: no foreign keys, owners under several names,
-- a zero where there is nobody, capitals in names, text for everything in the tables of properties.

CREATE TABLE wp_users ("ID" bigserial PRIMARY KEY, user_login varchar(60) NOT NULL DEFAULT '', user_registered timestamp NOT NULL DEFAULT '1970-01-01');
CREATE INDEX user_login_key ON wp_users (user_login);
CREATE TABLE wp_usermeta (umeta_id bigserial PRIMARY KEY, user_id bigint NOT NULL DEFAULT 0, meta_key varchar(255), meta_value text);
CREATE INDEX wp_usermeta_user_id ON wp_usermeta (user_id);
CREATE INDEX wp_usermeta_key ON wp_usermeta (substr(meta_key::text, 1, 191));
CREATE TABLE wp_posts (
  "ID" bigserial PRIMARY KEY, post_author bigint NOT NULL DEFAULT 0, post_title text NOT NULL DEFAULT '', post_parent bigint NOT NULL DEFAULT 0, menu_order int NOT NULL DEFAULT 0
);
CREATE INDEX post_author ON wp_posts (post_author);
CREATE TABLE wp_postmeta (meta_id bigserial PRIMARY KEY, post_id bigint NOT NULL DEFAULT 0, meta_key varchar(255), meta_value text);
CREATE TABLE wp_comments ("comment_ID" bigserial PRIMARY KEY, "comment_post_ID" bigint NOT NULL DEFAULT 0, user_id bigint NOT NULL DEFAULT 0, comment_content text NOT NULL);
CREATE TABLE wp_options (option_id bigserial PRIMARY KEY, option_name varchar(191) UNIQUE NOT NULL DEFAULT '', option_value text NOT NULL);

INSERT INTO wp_users (user_login) SELECT 'user' || n FROM generate_series(1, 8) n;
INSERT INTO wp_usermeta (user_id, meta_key, meta_value) SELECT "ID", 'country', (ARRAY['DE', 'US', 'FR', 'CA'])[1 + "ID" % 4] FROM wp_users;
INSERT INTO wp_usermeta (user_id, meta_key, meta_value) SELECT "ID", 'level', '10' FROM wp_users;
INSERT INTO wp_posts (post_author, post_title, post_parent) SELECT 1 + n % 8, 'post ' || n, CASE WHEN n > 16 THEN n - 16 ELSE 0 END FROM generate_series(1, 24) n;
INSERT INTO wp_postmeta (post_id, meta_key, meta_value) SELECT "ID", 'views', '0' FROM wp_posts;
-- Most comments come from somebody without a login: user 0.
INSERT INTO wp_comments ("comment_post_ID", user_id, comment_content) SELECT 1 + n % 24, CASE WHEN n % 4 = 0 THEN 1 + n % 8 ELSE 0 END, 'hm' FROM generate_series(1, 48) n;
INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl', 'http://example.org'), ('blogname', 'Blog');
