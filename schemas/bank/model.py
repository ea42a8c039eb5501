"""The reference bank as it is today: one PostgreSQL schema that knows nothing of regions.

``client`` is the root. ``account``, ``card``, ``payment``, ``debit``, ``transfer`` and
``ledger_entry`` belong to a client by a path of foreign keys; ``country``, ``currency`` and
``merchant`` are shared by everybody. What ``MetaData`` cannot hold is in ``extras.sql`` beside
this file, and ``docs/reference-bank.md`` explains why each part is as it is.
"""

from __future__ import annotations

from sqlalchemy import (
    CHAR,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Enum,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import INTERVAL, JSONB

#: The schema that every table of the bank lives in.
SCHEMA = "bank"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    },
)

client_status = Enum(
    "prospect",
    "active",
    "blocked",
    "closed",
    name="client_status",
    schema=SCHEMA,
    metadata=metadata,
)

_MONEY = Numeric(18, 2)
_INSTANT = DateTime(timezone=True)


def _id(comment: str) -> Column[int]:
    """Return the surrogate key that every table of clients' rows has."""
    return Column("id", BigInteger, Identity(), primary_key=True, comment=comment)


def _key(name: str, target: str, comment: str, *, nullable: bool = False) -> Column[int]:
    """Return an indexed foreign key to the ``id`` of ``target``."""
    return Column(
        name,
        BigInteger,
        ForeignKey(f"{SCHEMA}.{target}.id"),
        index=True,
        nullable=nullable,
        comment=comment,
    )


country = Table(
    "country",
    metadata,
    Column("code", CHAR(2), primary_key=True, comment="ISO 3166-1 alpha-2"),
    Column("name", Text, nullable=False, comment="Name as the bank prints it"),
    CheckConstraint("code ~ '^[A-Z]{2}$'", name="code_form"),
    comment="Countries that clients and merchants are in",
)

currency = Table(
    "currency",
    metadata,
    Column("code", CHAR(3), primary_key=True, comment="ISO 4217"),
    Column("name", Text, nullable=False, comment="Name as the bank prints it"),
    Column(
        "minor_digits",
        SmallInteger,
        nullable=False,
        comment="Digits after the point that an amount may use: 0 for the yen, 2 for the euro",
    ),
    CheckConstraint("minor_digits BETWEEN 0 AND 2", name="minor_digits_range"),
    comment="Currencies that accounts are kept in",
)

merchant = Table(
    "merchant",
    metadata,
    _id("Merchant"),
    Column("name", Text, nullable=False, comment="Trading name, not unique"),
    Column(
        "country_code",
        CHAR(2),
        ForeignKey(f"{SCHEMA}.country.code"),
        index=True,
        nullable=False,
        comment="Where the merchant trades",
    ),
    Column("category", String(32), nullable=False, comment="Kind of trade"),
    comment="Merchants, shared by the clients of every country",
)

client = Table(
    "client",
    metadata,
    _id("Client"),
    Column("email", Text, unique=True, nullable=False, comment="Login, as the client typed it"),
    Column("full_name", Text, nullable=False, comment="Name in the client's own script"),
    Column(
        "country_code",
        CHAR(2),
        ForeignKey(f"{SCHEMA}.country.code"),
        index=True,
        nullable=False,
        comment="Country of residence",
    ),
    Column(
        "status",
        client_status,
        nullable=False,
        server_default=text("'prospect'"),
        comment="A prospect has no account yet, a closed client none any more",
    ),
    Column("birth_date", Date, comment="NULL for companies and where it was never asked"),
    Column(
        "created_at",
        _INSTANT,
        nullable=False,
        server_default=func.now(),
        comment="When the client was registered",
    ),
    CheckConstraint("position('@' in email) > 1", name="email_form"),
    comment="The bank's clients",
)
# Not unique: the bank has always compared addresses without case when it searches, and with
# case when it registers.
Index("ix_client_lower_email", func.lower(client.c.email))

account = Table(
    "account",
    metadata,
    _id("Account"),
    Column("iban", String(34), unique=True, nullable=False, comment="IBAN without spaces"),
    _key("client_id", "client", "Owner"),
    Column(
        "currency",
        CHAR(3),
        ForeignKey(f"{SCHEMA}.currency.code"),
        index=True,
        nullable=False,
        comment="Currency of the balance and of every entry",
    ),
    Column(
        "balance",
        _MONEY,
        nullable=False,
        server_default=text("0"),
        comment="Sum of the ledger entries, kept by a trigger on ledger_entry",
    ),
    Column(
        "opened_at",
        _INSTANT,
        nullable=False,
        server_default=func.now(),
        comment="When the account was opened",
    ),
    comment="Accounts; a client has none, one or many",
)

card = Table(
    "card",
    metadata,
    _id("Card"),
    _key("account_id", "account", "Account that the card draws on"),
    Column(
        "pan_token",
        Uuid,
        unique=True,
        nullable=False,
        comment="Stands for the card number, which the bank does not keep",
    ),
    Column("expires", Date, nullable=False, comment="Last day on which the card is accepted"),
    Column(
        "active",
        Boolean,
        nullable=False,
        server_default=text("true"),
        comment="False once blocked or replaced",
    ),
    comment="Payment cards",
)
Index("ix_card_account_id_active", card.c.account_id, postgresql_where=card.c.active)

payment = Table(
    "payment",
    metadata,
    _id("Payment"),
    _key("account_id", "account", "Account that paid"),
    Column(
        "card_id",
        BigInteger,
        ForeignKey(f"{SCHEMA}.card.id", ondelete="SET NULL"),
        index=True,
        comment="Card of the same account; NULL when the payment was made without one",
    ),
    _key("merchant_id", "merchant", "Merchant that was paid"),
    Column("amount", _MONEY, nullable=False, comment="Amount in the currency of the account"),
    Column(
        "currency",
        CHAR(3),
        ForeignKey(f"{SCHEMA}.currency.code"),
        index=True,
        nullable=False,
        comment="Currency of the account when the payment was made",
    ),
    Column(
        "made_in",
        String(16),
        nullable=False,
        comment="Code of the region in which the payment was made; no foreign key",
    ),
    Column(
        "made_at",
        _INSTANT,
        nullable=False,
        server_default=func.now(),
        comment="When the payment was made, to the microsecond",
    ),
    Column("note", JSONB, comment="What the merchant sent along"),
    CheckConstraint("amount > 0", name="amount_positive"),
    comment="Settled payments to merchants",
)
Index(None, payment.c.made_at)

debit = Table(
    "debit",
    metadata,
    _id("Debit"),
    _key("account_id", "account", "Account that will pay"),
    _key("card_id", "card", "Card of the same account that was presented"),
    _key("merchant_id", "merchant", "Merchant that asked"),
    Column("amount", _MONEY, nullable=False, comment="Amount in the currency of the account"),
    Column(
        "authorised_in",
        String(16),
        nullable=False,
        comment="Code of the region that authorised; no foreign key",
    ),
    Column(
        "authorised_at",
        _INSTANT,
        nullable=False,
        server_default=func.now(),
        comment="When the amount was authorised",
    ),
    Column(
        "valid_for",
        INTERVAL(),
        nullable=False,
        server_default=text("'7 days'::interval"),
        comment="How long the merchant may take to settle, from authorised_at",
    ),
    CheckConstraint("amount > 0", name="amount_positive"),
    comment="Pending debits: authorised and not settled; settling one deletes it",
)

transfer = Table(
    "transfer",
    metadata,
    _id("Transfer"),
    _key("from_account_id", "account", "Payer"),
    _key("to_account_id", "account", "Payee, whoever the client and wherever they live"),
    Column("amount", _MONEY, nullable=False, comment="Amount in the currency of both accounts"),
    Column(
        "requested_at",
        _INSTANT,
        nullable=False,
        server_default=func.now(),
        comment="When the payer asked for it",
    ),
    Column("reference", Text, comment="What the payer wrote to the payee"),
    CheckConstraint("amount > 0", name="amount_positive"),
    CheckConstraint("from_account_id <> to_account_id", name="two_accounts"),
    comment="Transfers between two accounts of the bank",
)

ledger_entry = Table(
    "ledger_entry",
    metadata,
    _id("Entry"),
    _key("account_id", "account", "Account whose balance the entry changes"),
    _key("payment_id", "payment", "Payment that the entry books", nullable=True),
    _key(
        "transfer_id",
        "transfer",
        "Transfer that the entry books: one entry for the payer, one for the payee",
        nullable=True,
    ),
    Column(
        "amount",
        _MONEY,
        nullable=False,
        comment="Signed: positive raises the balance, negative lowers it",
    ),
    Column(
        "booked_at",
        _INSTANT,
        nullable=False,
        server_default=func.now(),
        comment="When the entry was booked",
    ),
    CheckConstraint("amount <> 0", name="amount_not_zero"),
    CheckConstraint("num_nonnulls(payment_id, transfer_id) <= 1", name="one_cause"),
    comment="Every change of a balance; a deposit has neither payment nor transfer",
)
