-- Not timed: the layout as it is before the load, its tables empty and without keys, indexes,
-- foreign keys and triggers. (regionkit takes them down by itself, within its own time.)
\ir settings.sql
do $$
declare
  found record;
begin
  for found in
    select 1 as rank, format('alter table %s drop constraint %I', o.conrelid::regclass, o.conname)
      as statement
    from pg_constraint o join pg_class c on c.oid = o.conrelid
    where o.connamespace = 'bank_regional'::regnamespace and o.contype = 'f'
      and o.conparentid = 0 and not c.relispartition
    union all
    select 2, format('drop trigger %I on %s', t.tgname, t.tgrelid::regclass)
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where c.relnamespace = 'bank_regional'::regnamespace and not t.tgisinternal
      and not c.relispartition
    union all
    select 3, format('alter table %s drop constraint %I', o.conrelid::regclass, o.conname)
    from pg_constraint o join pg_class c on c.oid = o.conrelid
    where o.connamespace = 'bank_regional'::regnamespace and o.contype in ('p', 'u')
      and not c.relispartition
    union all
    select 4, format('drop index %s', i.oid::regclass)
    from pg_index x join pg_class i on i.oid = x.indexrelid
    where i.relnamespace = 'bank_regional'::regnamespace and not i.relispartition
      and not exists (select from pg_constraint o where o.conindid = i.oid)
    order by 1
  loop
    execute found.statement;
  end loop;
end
$$;
