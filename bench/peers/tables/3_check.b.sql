\ir settings.sql
alter table client_region validate constraint client_region_region_fkey;
alter table client validate constraint client_client_region_fkey;
alter table client validate constraint fk_client_country_code_country;
alter table merchant validate constraint fk_merchant_country_code_country;
alter table account validate constraint fk_account_client_id_client;
alter table account validate constraint fk_account_currency_currency;
alter table card validate constraint fk_card_account_id_account;
alter table debit validate constraint fk_debit_account_id_account;
alter table debit validate constraint fk_debit_card_id_card;
alter table debit validate constraint fk_debit_merchant_id_merchant;
alter table transfer validate constraint fk_transfer_from_account_id_account;
alter table transfer validate constraint fk_transfer_to_account_id_account;
select format('alter table payment_%s validate constraint %I', region, key)
from unnest(array['eu', 'na', 'ap']) as region, unnest(array[
  'fk_payment_account_id_account', 'fk_payment_card_id_card', 'fk_payment_currency_currency',
  'fk_payment_merchant_id_merchant'
]) as key
\gexec
select format('alter table ledger_entry_%s validate constraint %I', region, key)
from unnest(array['na', 'ap']) as region, unnest(array[
  'fk_ledger_entry_account_id_account', 'fk_ledger_entry_transfer_id_transfer'
]) as key
\gexec
set enable_hashjoin = off;
alter table ledger_entry_na validate constraint fk_ledger_entry_payment_id_payment;
alter table ledger_entry_ap validate constraint fk_ledger_entry_payment_id_payment;
