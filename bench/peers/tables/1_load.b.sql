-- The longest table, then the indexes of the small ones that the other session has filled.
\ir settings.sql
\ir regions.sql
insert into ledger_entry
select e.*, h.region, payer.region
from bank.ledger_entry e
join account_home h on h.id = e.account_id
left join bank.transfer t on t.id = e.transfer_id
left join account_home payer on payer.id = t.from_account_id;
drop table account_home;
alter table ledger_entry add constraint pk_ledger_entry primary key (id, region);
create index ix_ledger_entry_account_id on ledger_entry (account_id);
create index ix_ledger_entry_payment_id on ledger_entry (payment_id);
create index ix_ledger_entry_transfer_id on ledger_entry (transfer_id);
analyze ledger_entry;
-- Long filled, unless everything is tiny.
do $$ begin while not exists (select from client_region) loop perform pg_sleep(0.01); end loop; end $$;
alter table account add constraint pk_account primary key (id, region);
alter table account add constraint uq_account_iban unique (iban, region);
create index ix_account_client_id on account (client_id);
create index ix_account_currency on account (currency);
alter table account_iban_key add constraint account_iban_key_pkey primary key (iban);
alter table card add constraint pk_card primary key (id, region);
alter table card add constraint uq_card_pan_token unique (pan_token, region);
create index ix_card_account_id on card (account_id);
create index ix_card_account_id_active on card (account_id) where active;
alter table card_pan_token_key add constraint card_pan_token_key_pkey primary key (pan_token);
alter table transfer add constraint pk_transfer primary key (id, region);
create index ix_transfer_from_account_id on transfer (from_account_id);
create index ix_transfer_to_account_id on transfer (to_account_id);
alter table debit add constraint pk_debit primary key (id, region);
create index ix_debit_account_id on debit (account_id);
create index ix_debit_card_id on debit (card_id);
create index ix_debit_merchant_id on debit (merchant_id);
analyze account, card, transfer, debit, account_iban_key, card_pan_token_key;
