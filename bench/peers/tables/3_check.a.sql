-- Every partition is checked against all partitions of the referenced table. The ids of both ends
-- are indexed and in order, so a merge of the indexes beats hashing all payments four times.
\ir settings.sql
set enable_hashjoin = off;
alter table ledger_entry_gl validate constraint fk_ledger_entry_payment_id_payment;
alter table ledger_entry_eu validate constraint fk_ledger_entry_payment_id_payment;
alter table ledger_entry_na validate constraint fk_ledger_entry_payment_id_payment;
