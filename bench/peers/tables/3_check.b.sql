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
alter table payment validate constraint fk_payment_account_id_account;
alter table payment validate constraint fk_payment_card_id_card;
alter table payment validate constraint fk_payment_currency_currency;
alter table payment validate constraint fk_payment_merchant_id_merchant;
set enable_hashjoin = off;
alter table ledger_entry_ap validate constraint fk_ledger_entry_payment_id_payment;
