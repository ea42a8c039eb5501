-- A schema without a row. The data can decide nothing: whether two ways to the client agree, whether an
-- address is shared.

CREATE TABLE country (code char(2) PRIMARY KEY);
CREATE TABLE address (id bigint PRIMARY KEY, country_code char(2) NOT NULL REFERENCES country);
CREATE TABLE client (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  country char(2) NOT NULL REFERENCES country,
  address_id bigint REFERENCES address
);
CREATE TABLE account (id bigserial PRIMARY KEY, client_id bigint NOT NULL REFERENCES client, iban text UNIQUE);
CREATE TABLE transfer (
  id bigserial PRIMARY KEY,
  payer_id bigint NOT NULL REFERENCES account,
  payee_id bigint NOT NULL REFERENCES account
);
CREATE TABLE note (body text, transfer_id bigint REFERENCES transfer);
