-- The region of every account, small enough to be hashed in memory: each session has its own.
create temporary table account_home as
select a.id, case
    when c.country_code in ('GL', 'IS', 'FO') then 'gl'
    when c.country_code in ('DK', 'DE', 'FR', 'PL', 'GR', 'ES', 'SE') then 'eu'
    when c.country_code in ('US', 'CA', 'MX') then 'na'
    when c.country_code in ('JP', 'SG', 'KR', 'AU') then 'ap'
  end as region
from bank.account a join bank.client c on c.id = a.client_id;
analyze account_home;
