-- Their partitions are checked by now: nothing is read any more.
\ir settings.sql
alter table payment validate constraint fk_payment_account_id_account;
alter table payment validate constraint fk_payment_card_id_card;
alter table payment validate constraint fk_payment_currency_currency;
alter table payment validate constraint fk_payment_merchant_id_merchant;
alter table ledger_entry validate constraint fk_ledger_entry_account_id_account;
alter table ledger_entry validate constraint fk_ledger_entry_payment_id_payment;
alter table ledger_entry validate constraint fk_ledger_entry_transfer_id_transfer;
