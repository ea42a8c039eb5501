-- Partition by partition, so that both sessions have as much to do: two check one table at the same
-- time, never one partition.
\ir settings.sql
select format('alter table payment_gl validate constraint %I', key)
from unnest(array[
  'fk_payment_account_id_account', 'fk_payment_card_id_card', 'fk_payment_currency_currency',
  'fk_payment_merchant_id_merchant'
]) as key
\gexec
select format('alter table ledger_entry_%s validate constraint %I', region, key)
from unnest(array['gl', 'eu']) as region, unnest(array[
  'fk_ledger_entry_account_id_account', 'fk_ledger_entry_transfer_id_transfer'
]) as key
\gexec
-- Every partition is checked against all partitions of the referenced table. The ids of both ends
-- are indexed and in order: a merge of the indexes beats hashing all payments four times.
set enable_hashjoin = off;
alter table ledger_entry_gl validate constraint fk_ledger_entry_payment_id_payment;
alter table ledger_entry_eu validate constraint fk_ledger_entry_payment_id_payment;
