-- Double entry: a journal entry belongs to nobody, its lines to accounts of several clients, and to accounts
-- of the bank that have no client. Balances are kept by a trigger, and a deferred trigger refuses entries
-- that do not balance.

CREATE TABLE client (id bigint PRIMARY KEY, country char(2) NOT NULL);
CREATE TABLE account (id bigint PRIMARY KEY, client_id bigint REFERENCES client, balance numeric(14, 2) NOT NULL DEFAULT 0);
CREATE TABLE journal_entry (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, booked date NOT NULL, said text);
CREATE TABLE line (
  entry_id bigint NOT NULL REFERENCES journal_entry, no smallint NOT NULL, account_id bigint NOT NULL REFERENCES account,
  contra_id bigint REFERENCES account,
  amount numeric(14, 2) NOT NULL CHECK (amount <> 0), PRIMARY KEY (entry_id, no)
);
CREATE INDEX line_account ON line (account_id, entry_id DESC);
CREATE FUNCTION keep_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE account SET balance = balance + NEW.amount WHERE id = NEW.account_id; RETURN NULL; END $$;
CREATE FUNCTION check_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT sum(amount) FROM line WHERE entry_id = NEW.entry_id) <> 0 THEN RAISE EXCEPTION 'entry % does not balance', NEW.entry_id; END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER keep_balance AFTER INSERT ON line FOR EACH ROW EXECUTE FUNCTION keep_balance();
CREATE CONSTRAINT TRIGGER check_entry AFTER INSERT OR UPDATE ON line DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_entry();

INSERT INTO client SELECT n, (ARRAY['DE', 'US', 'FR', 'CA'])[1 + n % 4] FROM generate_series(1, 8) n;
INSERT INTO account (id, client_id) SELECT n, CASE WHEN n <= 16 THEN 1 + n % 8 END FROM generate_series(1, 18) n;
INSERT INTO journal_entry (booked, said) SELECT date '2024-01-01' + n, 'entry ' || n FROM generate_series(1, 24) n;
BEGIN;
-- The other side is told where it is known, and is the bank's own account here and there.
INSERT INTO line SELECT id, 1, 1 + id % 16, CASE WHEN id % 2 = 0 THEN 1 + (id * 5) % 18 END, 10 + id FROM journal_entry;
INSERT INTO line SELECT id, 2, 1 + (id * 5) % 18, CASE WHEN id % 3 = 0 THEN 1 + id % 16 END, -(10 + id) FROM journal_entry;
COMMIT;
