-- What every session of this script begins with: the same memory that regionkit's sessions take.
\set ON_ERROR_STOP on
set search_path = bank_regional;
set work_mem = :'work_mem';
set maintenance_work_mem = :'maintenance_work_mem';
set client_min_messages = warning;
-- An autovacuum that has begun on a table gives way to DDL after this long; the default is 1 s.
set deadlock_timeout = '10ms';
