-- The small tables first, which the other session makes indexes on later; then the widest table.
\ir settings.sql
\ir regions.sql
begin;
insert into country select * from bank.country;
insert into currency select * from bank.currency;
insert into merchant select * from bank.merchant;
insert into client_region
select id, case
    when country_code in ('GL', 'IS', 'FO') then 'gl'
    when country_code in ('DK', 'DE', 'FR', 'PL', 'GR', 'ES', 'SE') then 'eu'
    when country_code in ('US', 'CA', 'MX') then 'na'
    when country_code in ('JP', 'SG', 'KR', 'AU') then 'ap'
  end
from bank.client;
insert into client
select c.id, c.email, c.full_name, c.country_code, c.status::text::client_status, c.birth_date,
  c.created_at, r.region
from bank.client c join client_region r on r.client_id = c.id;
insert into account
select a.*, h.region from bank.account a join account_home h on h.id = a.id;
insert into card
select c.*, h.region from bank.card c join account_home h on h.id = c.account_id;
insert into transfer
select t.*, payer.region, payee.region
from bank.transfer t
join account_home payer on payer.id = t.from_account_id
join account_home payee on payee.id = t.to_account_id;
insert into debit
select d.*, h.region from bank.debit d join account_home h on h.id = d.account_id;
insert into client_email_key select email from bank.client;
insert into account_iban_key select iban from bank.account;
insert into card_pan_token_key select pan_token from bank.card;
commit;
insert into payment
select p.*, h.region from bank.payment p join account_home h on h.id = p.account_id;
drop table account_home;
alter table payment add constraint pk_payment primary key (id, region);
create index ix_payment_account_id on payment (account_id);
create index ix_payment_card_id on payment (card_id);
create index ix_payment_currency on payment (currency);
create index ix_payment_made_at on payment (made_at);
create index ix_payment_merchant_id on payment (merchant_id);
-- Before the foreign keys: without statistics the server checks them with plans that take four
-- times as long.
analyze payment;
alter table region add constraint region_pkey primary key (code);
alter table country add constraint pk_country primary key (code);
alter table currency add constraint pk_currency primary key (code);
alter table merchant add constraint pk_merchant primary key (id);
create index ix_merchant_country_code on merchant (country_code);
alter table client_region add constraint client_region_pkey primary key (client_id);
alter table client_region add constraint client_region_region_key unique (client_id, region);
alter table client add constraint pk_client primary key (id, region);
alter table client add constraint uq_client_email unique (email, region);
create index ix_client_country_code on client (country_code);
create index ix_client_lower_email on client (lower(email));
alter table client_email_key add constraint client_email_key_pkey primary key (email);
analyze region, country, currency, merchant, client_region, client, client_email_key;
