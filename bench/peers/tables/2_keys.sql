-- Foreign keys are declared first and checked afterwards: declaring takes a lock that two sessions
-- cannot hold on one referenced table, checking does not. Triggers and sequences on the way.
\ir settings.sql
begin;
alter table client_region add constraint client_region_region_fkey
  foreign key (region) references region (code) not valid;
alter table client add constraint client_client_region_fkey
  foreign key (id, region) references client_region (client_id, region)
  on update cascade deferrable not valid;
alter table client add constraint fk_client_country_code_country
  foreign key (country_code) references country (code) not valid;
alter table merchant add constraint fk_merchant_country_code_country
  foreign key (country_code) references country (code) not valid;
alter table account add constraint fk_account_client_id_client
  foreign key (client_id, region) references client (id, region)
  on update cascade deferrable not valid;
alter table account add constraint fk_account_currency_currency
  foreign key (currency) references currency (code) not valid;
alter table card add constraint fk_card_account_id_account
  foreign key (account_id, region) references account (id, region)
  on update cascade deferrable not valid;
alter table payment add constraint fk_payment_account_id_account
  foreign key (account_id, region) references account (id, region)
  on update cascade deferrable not valid;
alter table payment add constraint fk_payment_card_id_card
  foreign key (card_id, region) references card (id, region)
  on update cascade on delete set null (card_id) deferrable not valid;
alter table payment add constraint fk_payment_currency_currency
  foreign key (currency) references currency (code) not valid;
alter table payment add constraint fk_payment_merchant_id_merchant
  foreign key (merchant_id) references merchant (id) not valid;
alter table debit add constraint fk_debit_account_id_account
  foreign key (account_id, region) references account (id, region)
  on update cascade deferrable not valid;
alter table debit add constraint fk_debit_card_id_card
  foreign key (card_id, region) references card (id, region)
  on update cascade deferrable not valid;
alter table debit add constraint fk_debit_merchant_id_merchant
  foreign key (merchant_id) references merchant (id) not valid;
alter table transfer add constraint fk_transfer_from_account_id_account
  foreign key (from_account_id, region) references account (id, region)
  on update cascade deferrable not valid;
alter table transfer add constraint fk_transfer_to_account_id_account
  foreign key (to_account_id, to_account_id_region) references account (id, region)
  match full on update cascade deferrable not valid;
alter table ledger_entry add constraint fk_ledger_entry_account_id_account
  foreign key (account_id, region) references account (id, region)
  on update cascade deferrable not valid;
alter table ledger_entry add constraint fk_ledger_entry_payment_id_payment
  foreign key (payment_id, region) references payment (id, region)
  on update cascade deferrable not valid;
alter table ledger_entry add constraint fk_ledger_entry_transfer_id_transfer
  foreign key (transfer_id, transfer_id_region) references transfer (id, region)
  match full on update cascade deferrable not valid;

create trigger client_email_key after insert or delete on client
  for each row execute function client_email_key_keep();
create trigger client_email_key_update after update on client
  for each row when (old.email is distinct from new.email) execute function client_email_key_keep();
create trigger account_iban_key after insert or delete on account
  for each row execute function account_iban_key_keep();
create trigger account_iban_key_update after update on account
  for each row when (old.iban is distinct from new.iban) execute function account_iban_key_keep();
create trigger card_pan_token_key after insert or delete on card
  for each row execute function card_pan_token_key_keep();
create trigger card_pan_token_key_update after update on card
  for each row when (old.pan_token is distinct from new.pan_token) execute function card_pan_token_key_keep();
create trigger ledger_entry_balance after insert on ledger_entry for each row
  when (current_setting('regionkit.moving', true) is distinct from 'on')
  execute function apply_entry();

-- Each greatest id by way of the primary key's indexes.
select setval('merchant_id_seq', (select max(id) from merchant));
select setval('client_id_seq', (select max(id) from client));
select setval('account_id_seq', (select max(id) from account));
select setval('card_id_seq', (select max(id) from card));
select setval('payment_id_seq', (select max(id) from payment));
select setval('debit_id_seq', (select max(id) from debit));
select setval('transfer_id_seq', (select max(id) from transfer));
select setval('ledger_entry_id_seq', (select max(id) from ledger_entry));
commit;
