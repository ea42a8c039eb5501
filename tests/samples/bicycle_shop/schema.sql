-- A maker of bicycles, in the shape of a well-known teaching database: schemas by department, one table of
-- "entities" that persons, vendors and stores share their key with, keys of uuid beside the real ones, domains
-- everywhere, a customer that is a person or a store, and a territory that tells the region.

CREATE SCHEMA person;
CREATE SCHEMA sales;
CREATE SCHEMA production;

CREATE DOMAIN public."Flag" AS boolean NOT NULL;
CREATE DOMAIN public."Name" AS varchar(50);
CREATE DOMAIN public."OrderNumber" AS varchar(25);

CREATE TABLE person.businessentity (businessentityid serial PRIMARY KEY, rowguid uuid NOT NULL DEFAULT gen_random_uuid(), modifieddate timestamp NOT NULL DEFAULT now());
CREATE TABLE person.person (
  businessentityid int PRIMARY KEY REFERENCES person.businessentity, persontype char(2) NOT NULL, namestyle public."Flag" DEFAULT false,
  firstname public."Name" NOT NULL, lastname public."Name" NOT NULL, additionalcontactinfo xml,
  CONSTRAINT "CK_Person_PersonType" CHECK (upper(persontype::text) = ANY (ARRAY['IN'::text, 'SC'::text]))
);
CREATE TABLE person.emailaddress (
  businessentityid int NOT NULL REFERENCES person.person, emailaddressid serial NOT NULL, emailaddress varchar(50),
  CONSTRAINT "PK_EmailAddress_BusinessEntityID_EmailAddressID" PRIMARY KEY (businessentityid, emailaddressid)
);
CREATE TABLE person.password (businessentityid int PRIMARY KEY REFERENCES person.person, passwordhash varchar(128) NOT NULL);
CREATE TABLE person.countryregion (countryregioncode varchar(3) PRIMARY KEY, name public."Name" NOT NULL);
CREATE TABLE sales.salesterritory (territoryid serial PRIMARY KEY, name public."Name" NOT NULL, countryregioncode varchar(3) NOT NULL REFERENCES person.countryregion, "group" varchar(50) NOT NULL);
CREATE TABLE sales.store (businessentityid int PRIMARY KEY REFERENCES person.businessentity, name public."Name" NOT NULL, demographics xml);
CREATE TABLE sales.customer (
  customerid serial PRIMARY KEY, personid int REFERENCES person.person, storeid int REFERENCES sales.store,
  territoryid int NOT NULL REFERENCES sales.salesterritory, rowguid uuid NOT NULL DEFAULT gen_random_uuid()
);
CREATE TABLE production.product (
  productid serial PRIMARY KEY, name public."Name" NOT NULL, makeflag public."Flag" DEFAULT true, listprice numeric NOT NULL CHECK (listprice >= 0.00), size varchar(5)
);
CREATE TABLE sales.specialoffer (specialofferid serial PRIMARY KEY, description varchar(255) NOT NULL);
CREATE TABLE sales.specialofferproduct (
  specialofferid int NOT NULL REFERENCES sales.specialoffer, productid int NOT NULL REFERENCES production.product, PRIMARY KEY (specialofferid, productid)
);
CREATE TABLE sales.salesorderheader (
  salesorderid serial PRIMARY KEY, orderdate timestamp NOT NULL DEFAULT now(), purchaseordernumber public."OrderNumber", customerid int NOT NULL REFERENCES sales.customer,
  territoryid int REFERENCES sales.salesterritory, subtotal numeric NOT NULL DEFAULT 0.00, taxamt numeric NOT NULL DEFAULT 0.00,
  totaldue numeric GENERATED ALWAYS AS (coalesce(subtotal, 0) + coalesce(taxamt, 0)) STORED
);
CREATE TABLE sales.salesorderdetail (
  salesorderid int NOT NULL REFERENCES sales.salesorderheader ON DELETE CASCADE, salesorderdetailid serial NOT NULL, productid int NOT NULL, specialofferid int NOT NULL, orderqty smallint NOT NULL,
  CONSTRAINT "PK_SalesOrderDetail_SalesOrderID_SalesOrderDetailID" PRIMARY KEY (salesorderid, salesorderdetailid),
  CONSTRAINT "FK_SalesOrderDetail_SpecialOfferProduct_SpecialOfferIDProductID" FOREIGN KEY (specialofferid, productid) REFERENCES sales.specialofferproduct (specialofferid, productid)
);
CREATE VIEW sales.vindividualcustomer AS
  SELECT p.businessentityid, p.firstname, p.lastname, e.emailaddress FROM person.person p
  JOIN person.emailaddress e ON e.businessentityid = p.businessentityid JOIN sales.customer c ON c.personid = p.businessentityid WHERE c.storeid IS NULL;
COMMENT ON TABLE sales.salesorderheader IS 'General sales order information.';
COMMENT ON COLUMN sales.salesorderheader.totaldue IS 'Total due from customer. Computed as Subtotal + TaxAmt.';

INSERT INTO person.countryregion VALUES ('DE', 'Germany'), ('US', 'United States'), ('FR', 'France'), ('CA', 'Canada');
INSERT INTO sales.salesterritory (name, countryregioncode, "group") SELECT name, countryregioncode, 'g' FROM person.countryregion ORDER BY 2;
INSERT INTO person.businessentity (rowguid, modifieddate) SELECT lpad(n::text, 32, '0')::uuid, '2014-01-01' FROM generate_series(1, 18) n;
INSERT INTO person.person SELECT n, 'IN', false, 'first' || n, 'last' FROM generate_series(1, 12) n;
INSERT INTO person.emailaddress (businessentityid, emailaddress) SELECT businessentityid, 'p' || businessentityid || '@example.org' FROM person.person;
INSERT INTO person.password SELECT businessentityid, 'hash' FROM person.person;
INSERT INTO sales.store SELECT n, 'store ' || n FROM generate_series(13, 18) n;
INSERT INTO sales.customer (personid, storeid, territoryid) SELECT n, CASE WHEN n > 6 THEN n + 6 END, 1 + n % 4 FROM generate_series(1, 12) n;
INSERT INTO production.product (name, listprice) SELECT 'part ' || n, n FROM generate_series(1, 4) n;
INSERT INTO sales.specialoffer (description) VALUES ('none'), ('bulk');
INSERT INTO sales.specialofferproduct SELECT o, p FROM generate_series(1, 2) o, generate_series(1, 4) p;
INSERT INTO sales.salesorderheader (customerid, orderdate, purchaseordernumber, territoryid, subtotal, taxamt)
  SELECT 1 + n % 12, timestamp '2014-01-01' + n * interval '1 day', 'PO' || n, 1 + (1 + n % 12) % 4, n, n / 10.0 FROM generate_series(1, 24) n;
INSERT INTO sales.salesorderdetail (salesorderid, productid, specialofferid, orderqty) SELECT h.salesorderid, 1 + n, 1 + n % 2, 1 FROM sales.salesorderheader h, generate_series(0, 1) n;
