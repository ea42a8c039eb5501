-- regionkit: function apply_entry
CREATE OR REPLACE FUNCTION bank.apply_entry()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  update account set balance = balance + new.amount where id = new.account_id;
  return null;
end;
$function$;

-- regionkit: trigger ledger_entry_balance on ledger_entry
CREATE TRIGGER ledger_entry_balance AFTER INSERT ON bank.ledger_entry FOR EACH ROW EXECUTE FUNCTION bank.apply_entry();
