-- Intervals have been infinite since PostgreSQL 17.
INSERT INTO refused (id, client_id, endless_interval) VALUES (80, 1, 'infinity'), (81, 2, '-infinity');
