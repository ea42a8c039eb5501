-- Every partition is checked by now, the parents follow.
\ir settings.sql
alter table ledger_entry validate constraint fk_ledger_entry_account_id_account;
alter table ledger_entry validate constraint fk_ledger_entry_payment_id_payment;
alter table ledger_entry validate constraint fk_ledger_entry_transfer_id_transfer;
