"""Create the regional schema."""

from __future__ import annotations

from toolkit.mongo.operations import Operations

revision = "0001"
down_revision = None
model_digest = "549182f84fc41ba2930250c57c8d10ea86205fca11cb69523e67524bc0a00e58"


def upgrade(op: Operations) -> None:
    op.create_region_list(
        "region",
        ["gl", "eu", "na", "ap"],
        validator={
            "$jsonSchema": {
                "bsonType": "object",
                "required": ["_id"],
                "additionalProperties": False,
                "properties": {"_id": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"}},
            },
        },
    )
    op.create_collection(
        "country",
        validator={
            "$jsonSchema": {
                "title": "Countries that clients and merchants are in",
                "bsonType": "object",
                "required": ["_id", "name"],
                "additionalProperties": False,
                "properties": {
                    "_id": {
                        "bsonType": "string",
                        "maxLength": 2,
                        "description": "ISO 3166-1 alpha-2",
                    },
                    "name": {"bsonType": "string", "description": "Name as the bank prints it"},
                },
            },
        },
    )
    op.create_collection(
        "currency",
        validator={
            "$jsonSchema": {
                "title": "Currencies that accounts are kept in",
                "bsonType": "object",
                "required": ["_id", "name", "minor_digits"],
                "additionalProperties": False,
                "properties": {
                    "_id": {"bsonType": "string", "maxLength": 3, "description": "ISO 4217"},
                    "name": {"bsonType": "string", "description": "Name as the bank prints it"},
                    "minor_digits": {
                        "bsonType": "int",
                        "minimum": -32768,
                        "maximum": 32767,
                        "description": (
                            "Digits after the point that an amount may use: 0 for the yen, 2 for "
                            "the euro"
                        ),
                    },
                },
            },
        },
    )
    op.create_collection(
        "merchant",
        validator={
            "$jsonSchema": {
                "title": "Merchants, shared by the clients of every country",
                "bsonType": "object",
                "required": ["_id", "name", "country_code", "category"],
                "additionalProperties": False,
                "properties": {
                    "_id": {"bsonType": "long", "description": "Merchant"},
                    "name": {"bsonType": "string", "description": "Trading name, not unique"},
                    "country_code": {
                        "bsonType": "string",
                        "maxLength": 2,
                        "description": "Where the merchant trades",
                    },
                    "category": {
                        "bsonType": "string",
                        "maxLength": 32,
                        "description": "Kind of trade",
                    },
                },
            },
        },
        indexes=[{"name": "ix_merchant_country_code", "keys": [("country_code", 1)]}],
    )
    op.create_link(
        "client_region",
        validator={
            "$jsonSchema": {
                "bsonType": "object",
                "required": ["_id", "region"],
                "additionalProperties": False,
                "properties": {
                    "_id": {"bsonType": "long"},
                    "region": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"},
                    "epoch": {"bsonType": "long"},
                    "moving": {
                        "bsonType": "object",
                        "required": ["from", "to", "stage", "epoch", "token"],
                        "additionalProperties": False,
                        "properties": {
                            "from": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"},
                            "to": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"},
                            "stage": {"enum": ["copying", "deleting"]},
                            "epoch": {"bsonType": "long"},
                            "token": {"bsonType": "string"},
                        },
                    },
                },
                "oneOf": [{"required": ["epoch"]}, {"required": ["moving"]}],
            },
        },
        indexes=[{"name": "region_idx", "keys": [("region", 1)]}],
    )
    op.create_key_collection(
        "client_email_key",
        validator={
            "$jsonSchema": {
                "bsonType": "object",
                "required": ["_id"],
                "additionalProperties": False,
                "properties": {"_id": {"bsonType": "string"}},
            },
        },
    )
    op.create_key_collection(
        "account_iban_key",
        validator={
            "$jsonSchema": {
                "bsonType": "object",
                "required": ["_id"],
                "additionalProperties": False,
                "properties": {"_id": {"bsonType": "string", "maxLength": 34}},
            },
        },
    )
    op.create_key_collection(
        "card_pan_token_key",
        validator={
            "$jsonSchema": {
                "bsonType": "object",
                "required": ["_id"],
                "additionalProperties": False,
                "properties": {"_id": {"bsonType": "binData"}},
            },
        },
    )
    op.create_regional_collections(
        "client",
        {"gl": "client_gl", "eu": "client_eu", "na": "client_na", "ap": "client_ap"},
        region_field="region",
        validator={
            "$jsonSchema": {
                "title": "The bank's clients",
                "bsonType": "object",
                "required": [
                    "_id",
                    "region",
                    "email",
                    "full_name",
                    "country_code",
                    "status",
                    "birth_date",
                    "created_at",
                    "created_at_us",
                ],
                "additionalProperties": False,
                "properties": {
                    "_id": {"bsonType": "long", "description": "Client"},
                    "region": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"},
                    "email": {"bsonType": "string", "description": "Login, as the client typed it"},
                    "full_name": {
                        "bsonType": "string",
                        "description": "Name in the client's own script",
                    },
                    "country_code": {
                        "bsonType": "string",
                        "maxLength": 2,
                        "description": "Country of residence",
                    },
                    "status": {
                        "bsonType": "string",
                        "enum": ["prospect", "active", "blocked", "closed"],
                        "description": (
                            "A prospect has no account yet, a closed client none any more"
                        ),
                    },
                    "birth_date": {
                        "bsonType": ["date", "null"],
                        "description": "NULL for companies and where it was never asked",
                    },
                    "created_at": {
                        "bsonType": "date",
                        "description": "When the client was registered",
                    },
                    "created_at_us": {"bsonType": "int", "minimum": 0, "maximum": 999},
                },
            },
        },
        indexes=[
            {"name": "uq_client_email", "keys": [("email", 1)], "unique": True},
            {"name": "ix_client_country_code", "keys": [("country_code", 1)]},
        ],
    )
    op.create_regional_collections(
        "account",
        {"gl": "account_gl", "eu": "account_eu", "na": "account_na", "ap": "account_ap"},
        region_field="region",
        validator={
            "$jsonSchema": {
                "title": "Accounts; a client has none, one or many",
                "bsonType": "object",
                "required": [
                    "_id",
                    "region",
                    "iban",
                    "client_id",
                    "currency",
                    "balance",
                    "opened_at",
                    "opened_at_us",
                ],
                "additionalProperties": False,
                "properties": {
                    "_id": {"bsonType": "long", "description": "Account"},
                    "region": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"},
                    "iban": {
                        "bsonType": "string",
                        "maxLength": 34,
                        "description": "IBAN without spaces",
                    },
                    "client_id": {"bsonType": "long", "description": "Owner"},
                    "currency": {
                        "bsonType": "string",
                        "maxLength": 3,
                        "description": "Currency of the balance and of every entry",
                    },
                    "balance": {
                        "bsonType": "decimal",
                        "description": (
                            "Sum of the ledger entries, kept by a trigger on ledger_entry"
                        ),
                    },
                    "opened_at": {"bsonType": "date", "description": "When the account was opened"},
                    "opened_at_us": {"bsonType": "int", "minimum": 0, "maximum": 999},
                },
            },
        },
        indexes=[
            {"name": "uq_account_iban", "keys": [("iban", 1)], "unique": True},
            {"name": "ix_account_client_id", "keys": [("client_id", 1)]},
            {"name": "ix_account_currency", "keys": [("currency", 1)]},
        ],
    )
    op.create_regional_collections(
        "card",
        {"gl": "card_gl", "eu": "card_eu", "na": "card_na", "ap": "card_ap"},
        region_field="region",
        validator={
            "$jsonSchema": {
                "title": "Payment cards",
                "bsonType": "object",
                "required": ["_id", "region", "account_id", "pan_token", "expires", "active"],
                "additionalProperties": False,
                "properties": {
                    "_id": {"bsonType": "long", "description": "Card"},
                    "region": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"},
                    "account_id": {
                        "bsonType": "long",
                        "description": "Account that the card draws on",
                    },
                    "pan_token": {
                        "bsonType": "binData",
                        "description": "Stands for the card number, which the bank does not keep",
                    },
                    "expires": {
                        "bsonType": "date",
                        "description": "Last day on which the card is accepted",
                    },
                    "active": {"bsonType": "bool", "description": "False once blocked or replaced"},
                },
            },
        },
        indexes=[
            {"name": "uq_card_pan_token", "keys": [("pan_token", 1)], "unique": True},
            {"name": "ix_card_account_id", "keys": [("account_id", 1)]},
        ],
    )
    op.create_regional_collections(
        "debit",
        {"gl": "debit_gl", "eu": "debit_eu", "na": "debit_na", "ap": "debit_ap"},
        region_field="region",
        validator={
            "$jsonSchema": {
                "title": "Pending debits: authorised and not settled; settling one deletes it",
                "bsonType": "object",
                "required": [
                    "_id",
                    "region",
                    "account_id",
                    "card_id",
                    "merchant_id",
                    "amount",
                    "authorised_in",
                    "authorised_at",
                    "authorised_at_us",
                    "valid_for",
                ],
                "additionalProperties": False,
                "properties": {
                    "_id": {"bsonType": "long", "description": "Debit"},
                    "region": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"},
                    "account_id": {"bsonType": "long", "description": "Account that will pay"},
                    "card_id": {
                        "bsonType": "long",
                        "description": "Card of the same account that was presented",
                    },
                    "merchant_id": {"bsonType": "long", "description": "Merchant that asked"},
                    "amount": {
                        "bsonType": "decimal",
                        "description": "Amount in the currency of the account",
                    },
                    "authorised_in": {
                        "bsonType": "string",
                        "maxLength": 16,
                        "description": "Code of the region that authorised; no foreign key",
                    },
                    "authorised_at": {
                        "bsonType": "date",
                        "description": "When the amount was authorised",
                    },
                    "authorised_at_us": {"bsonType": "int", "minimum": 0, "maximum": 999},
                    "valid_for": {
                        "bsonType": "object",
                        "required": ["months", "days", "us"],
                        "additionalProperties": False,
                        "properties": {
                            "months": {"bsonType": "int"},
                            "days": {"bsonType": "int"},
                            "us": {"bsonType": "long"},
                        },
                        "description": (
                            "How long the merchant may take to settle, from authorised_at"
                        ),
                    },
                },
            },
        },
        indexes=[
            {"name": "ix_debit_account_id", "keys": [("account_id", 1)]},
            {"name": "ix_debit_card_id", "keys": [("card_id", 1)]},
            {"name": "ix_debit_merchant_id", "keys": [("merchant_id", 1)]},
        ],
    )
    op.create_regional_collections(
        "ledger_entry",
        {
            "gl": "ledger_entry_gl",
            "eu": "ledger_entry_eu",
            "na": "ledger_entry_na",
            "ap": "ledger_entry_ap",
        },
        region_field="region",
        validator={
            "$jsonSchema": {
                "title": "Every change of a balance; a deposit has neither payment nor transfer",
                "bsonType": "object",
                "required": [
                    "_id",
                    "region",
                    "account_id",
                    "payment_id",
                    "transfer_id",
                    "amount",
                    "booked_at",
                    "booked_at_us",
                    "transfer_id_region",
                ],
                "additionalProperties": False,
                "properties": {
                    "_id": {"bsonType": "long", "description": "Entry"},
                    "region": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"},
                    "account_id": {
                        "bsonType": "long",
                        "description": "Account whose balance the entry changes",
                    },
                    "payment_id": {
                        "bsonType": ["long", "null"],
                        "description": "Payment that the entry books",
                    },
                    "transfer_id": {
                        "bsonType": ["long", "null"],
                        "description": (
                            "Transfer that the entry books: one entry for the payer, one for the "
                            "payee"
                        ),
                    },
                    "amount": {
                        "bsonType": "decimal",
                        "description": "Signed: positive raises the balance, negative lowers it",
                    },
                    "booked_at": {"bsonType": "date", "description": "When the entry was booked"},
                    "booked_at_us": {"bsonType": "int", "minimum": 0, "maximum": 999},
                    "transfer_id_region": {
                        "bsonType": ["string", "null"],
                        "pattern": "^[a-z][a-z0-9_]{0,15}$",
                    },
                },
            },
        },
        indexes=[
            {"name": "ix_ledger_entry_account_id", "keys": [("account_id", 1)]},
            {"name": "ix_ledger_entry_payment_id", "keys": [("payment_id", 1)]},
            {"name": "ix_ledger_entry_transfer_id", "keys": [("transfer_id", 1)]},
        ],
    )
    op.create_regional_collections(
        "payment",
        {"gl": "payment_gl", "eu": "payment_eu", "na": "payment_na", "ap": "payment_ap"},
        region_field="region",
        validator={
            "$jsonSchema": {
                "title": "Settled payments to merchants",
                "bsonType": "object",
                "required": [
                    "_id",
                    "region",
                    "account_id",
                    "card_id",
                    "merchant_id",
                    "amount",
                    "currency",
                    "made_in",
                    "made_at",
                    "made_at_us",
                    "note",
                ],
                "additionalProperties": False,
                "properties": {
                    "_id": {"bsonType": "long", "description": "Payment"},
                    "region": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"},
                    "account_id": {"bsonType": "long", "description": "Account that paid"},
                    "card_id": {
                        "bsonType": ["long", "null"],
                        "description": (
                            "Card of the same account; NULL when the payment was made without one"
                        ),
                    },
                    "merchant_id": {"bsonType": "long", "description": "Merchant that was paid"},
                    "amount": {
                        "bsonType": "decimal",
                        "description": "Amount in the currency of the account",
                    },
                    "currency": {
                        "bsonType": "string",
                        "maxLength": 3,
                        "description": "Currency of the account when the payment was made",
                    },
                    "made_in": {
                        "bsonType": "string",
                        "maxLength": 16,
                        "description": (
                            "Code of the region in which the payment was made; no foreign key"
                        ),
                    },
                    "made_at": {
                        "bsonType": "date",
                        "description": "When the payment was made, to the microsecond",
                    },
                    "made_at_us": {"bsonType": "int", "minimum": 0, "maximum": 999},
                    "note": {
                        "bsonType": [
                            "object",
                            "array",
                            "string",
                            "long",
                            "decimal",
                            "bool",
                            "null",
                        ],
                        "description": "What the merchant sent along",
                    },
                },
            },
        },
        indexes=[
            {"name": "ix_payment_account_id", "keys": [("account_id", 1)]},
            {"name": "ix_payment_card_id", "keys": [("card_id", 1)]},
            {"name": "ix_payment_currency", "keys": [("currency", 1)]},
            {"name": "ix_payment_made_at", "keys": [("made_at", 1), ("made_at_us", 1)]},
            {"name": "ix_payment_merchant_id", "keys": [("merchant_id", 1)]},
        ],
    )
    op.create_regional_collections(
        "transfer",
        {"gl": "transfer_gl", "eu": "transfer_eu", "na": "transfer_na", "ap": "transfer_ap"},
        region_field="region",
        validator={
            "$jsonSchema": {
                "title": "Transfers between two accounts of the bank",
                "bsonType": "object",
                "required": [
                    "_id",
                    "region",
                    "from_account_id",
                    "to_account_id",
                    "amount",
                    "requested_at",
                    "requested_at_us",
                    "reference",
                    "to_account_id_region",
                ],
                "additionalProperties": False,
                "properties": {
                    "_id": {"bsonType": "long", "description": "Transfer"},
                    "region": {"bsonType": "string", "pattern": "^[a-z][a-z0-9_]{0,15}$"},
                    "from_account_id": {"bsonType": "long", "description": "Payer"},
                    "to_account_id": {
                        "bsonType": "long",
                        "description": "Payee, whoever the client and wherever they live",
                    },
                    "amount": {
                        "bsonType": "decimal",
                        "description": "Amount in the currency of both accounts",
                    },
                    "requested_at": {
                        "bsonType": "date",
                        "description": "When the payer asked for it",
                    },
                    "requested_at_us": {"bsonType": "int", "minimum": 0, "maximum": 999},
                    "reference": {
                        "bsonType": ["string", "null"],
                        "description": "What the payer wrote to the payee",
                    },
                    "to_account_id_region": {
                        "bsonType": "string",
                        "pattern": "^[a-z][a-z0-9_]{0,15}$",
                    },
                },
            },
        },
        indexes=[
            {"name": "ix_transfer_from_account_id", "keys": [("from_account_id", 1)]},
            {"name": "ix_transfer_to_account_id", "keys": [("to_account_id", 1)]},
        ],
    )
    op.create_view("client", ["client_gl", "client_eu", "client_na", "client_ap"])
    op.create_view("account", ["account_gl", "account_eu", "account_na", "account_ap"])
    op.create_view("card", ["card_gl", "card_eu", "card_na", "card_ap"])
    op.create_view("debit", ["debit_gl", "debit_eu", "debit_na", "debit_ap"])
    op.create_view(
        "ledger_entry",
        ["ledger_entry_gl", "ledger_entry_eu", "ledger_entry_na", "ledger_entry_ap"],
    )
    op.create_view("payment", ["payment_gl", "payment_eu", "payment_na", "payment_ap"])
    op.create_view("transfer", ["transfer_gl", "transfer_eu", "transfer_na", "transfer_ap"])


def downgrade(op: Operations) -> None:
    op.drop_view("transfer")
    op.drop_view("payment")
    op.drop_view("ledger_entry")
    op.drop_view("debit")
    op.drop_view("card")
    op.drop_view("account")
    op.drop_view("client")
    op.drop_regional_collections(
        "transfer",
        ["transfer_gl", "transfer_eu", "transfer_na", "transfer_ap"],
    )
    op.drop_regional_collections(
        "payment",
        ["payment_gl", "payment_eu", "payment_na", "payment_ap"],
    )
    op.drop_regional_collections(
        "ledger_entry",
        ["ledger_entry_gl", "ledger_entry_eu", "ledger_entry_na", "ledger_entry_ap"],
    )
    op.drop_regional_collections("debit", ["debit_gl", "debit_eu", "debit_na", "debit_ap"])
    op.drop_regional_collections("card", ["card_gl", "card_eu", "card_na", "card_ap"])
    op.drop_regional_collections(
        "account",
        ["account_gl", "account_eu", "account_na", "account_ap"],
    )
    op.drop_regional_collections("client", ["client_gl", "client_eu", "client_na", "client_ap"])
    op.drop_collection("card_pan_token_key")
    op.drop_collection("account_iban_key")
    op.drop_collection("client_email_key")
    op.drop_collection("client_region")
    op.drop_collection("merchant")
    op.drop_collection("currency")
    op.drop_collection("country")
    op.drop_region_list("region")
