"""The logical schema of the source, for regionkit."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from toolkit.types import Composite, CustomRange, PostgresNamed

metadata = sa.MetaData(schema="public")

percent = postgresql.DOMAIN("percent", sa.Numeric(5, 2), schema="public", create_type=False)

handle = postgresql.DOMAIN(
    "handle",
    PostgresNamed("citext"),
    schema="public",
    create_type=False,
)

mood = postgresql.ENUM(
    "sad",
    "so so",
    'it\'s, "ok" \\',
    name="mood",
    schema="public",
    create_type=False,
)

words = CustomRange("words", sa.Text, schema="public")

hours = CustomRange("hours", sa.Time, schema="public")

season = postgresql.DOMAIN("season", postgresql.DATERANGE, schema="public", create_type=False)

place = Composite(
    "place",
    ("street", sa.Text),
    ("no. 1", sa.Integer),
    ("since", sa.DateTime(timezone=True)),
    ("$gps", PostgresNamed("point")),
    ("moods", postgresql.ARRAY(mood)),
    schema="public",
)

home = postgresql.DOMAIN("home", place, schema="public", create_type=False)

stay = Composite(
    "stay",
    ("at", place),
    ("rooms", postgresql.ARRAY(place)),
    ("nights", postgresql.DATERANGE),
    ("note", postgresql.JSONB),
    ("paid", sa.Numeric),
    schema="public",
)

numbers = postgresql.DOMAIN(
    "numbers",
    postgresql.ARRAY(sa.Integer),
    schema="public",
    create_type=False,
)

client = sa.Table(
    "client",
    metadata,
    sa.Column("id", sa.BigInteger, autoincrement=False),
    sa.Column("land", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("id", name="client_pkey"),
)

carried = sa.Table(
    "carried",
    metadata,
    sa.Column("id", sa.Integer, autoincrement=False),
    sa.Column("client_id", sa.BigInteger, nullable=False),
    sa.Column("int2", sa.SmallInteger),
    sa.Column("int4", sa.Integer),
    sa.Column("int8", sa.BigInteger),
    sa.Column("exact", sa.Numeric),
    sa.Column("money_like", sa.Numeric(18, 2)),
    sa.Column("percent", percent),
    sa.Column("negative_scale", sa.Numeric(5, -2)),
    sa.Column("float4", sa.REAL),
    sa.Column("float8", sa.Double),
    sa.Column("yes", sa.Boolean),
    sa.Column("text", sa.Text),
    sa.Column("varchar", sa.String(4)),
    sa.Column("char", sa.CHAR(4)),
    sa.Column("one", PostgresNamed('"char"')),
    sa.Column("name", PostgresNamed("name")),
    sa.Column("citext", PostgresNamed("citext")),
    sa.Column("handle", handle),
    sa.Column("latin", sa.Text(collation="C")),
    sa.Column("mood", mood),
    sa.Column("moods", postgresql.ARRAY(mood)),
    sa.Column("bytea", sa.LargeBinary),
    sa.Column("uuid", sa.Uuid),
    sa.Column("date", sa.Date),
    sa.Column("timestamp", sa.DateTime),
    sa.Column("timestamp0", postgresql.TIMESTAMP(precision=0)),
    sa.Column("timestamptz", sa.DateTime(timezone=True)),
    sa.Column("time", sa.Time),
    sa.Column("timetz", sa.Time(timezone=True)),
    sa.Column("interval", postgresql.INTERVAL),
    sa.Column("interval_day", postgresql.INTERVAL(fields="day to second")),
    sa.Column("json", postgresql.JSON),
    sa.Column("jsonb", postgresql.JSONB),
    sa.Column("jsonpath", postgresql.JSONPATH),
    sa.Column("hstore", PostgresNamed("hstore")),
    sa.Column("bit", postgresql.BIT(length=3)),
    sa.Column("varbit", postgresql.BIT(varying=True)),
    sa.Column("money", postgresql.MONEY),
    sa.Column("inet", postgresql.INET),
    sa.Column("cidr", postgresql.CIDR),
    sa.Column("macaddr", postgresql.MACADDR),
    sa.Column("macaddr8", postgresql.MACADDR8),
    sa.Column("point", PostgresNamed("point")),
    sa.Column("line", PostgresNamed("line")),
    sa.Column("lseg", PostgresNamed("lseg")),
    sa.Column("box", PostgresNamed("box")),
    sa.Column("path", PostgresNamed("path")),
    sa.Column("polygon", PostgresNamed("polygon")),
    sa.Column("circle", PostgresNamed("circle")),
    sa.Column("cube", PostgresNamed("cube")),
    sa.Column("tsvector", postgresql.TSVECTOR),
    sa.Column("tsquery", postgresql.TSQUERY),
    sa.Column("ltree", PostgresNamed("ltree")),
    sa.Column("lquery", PostgresNamed("lquery")),
    sa.Column("isbn", PostgresNamed("isbn")),
    sa.Column("oid", postgresql.OID),
    sa.Column("xid", PostgresNamed("xid")),
    sa.Column("xid8", PostgresNamed("xid8")),
    sa.Column("cid", PostgresNamed("cid")),
    sa.Column("tid", PostgresNamed("tid")),
    sa.Column("pg_lsn", PostgresNamed("pg_lsn")),
    sa.Column("snapshot", PostgresNamed("pg_snapshot")),
    sa.Column("old_snapshot", PostgresNamed("txid_snapshot")),
    sa.Column("int2vector", PostgresNamed("int2vector")),
    sa.Column("oidvector", PostgresNamed("oidvector")),
    sa.Column("aclitem", PostgresNamed("aclitem")),
    sa.Column("regclass", postgresql.REGCLASS),
    sa.Column("regtype", PostgresNamed("regtype")),
    sa.Column("regproc", PostgresNamed("regproc")),
    sa.Column("regprocedure", PostgresNamed("regprocedure")),
    sa.Column("regrole", PostgresNamed("regrole")),
    sa.Column("regnamespace", PostgresNamed("regnamespace")),
    sa.Column("regconfig", postgresql.REGCONFIG),
    sa.Column("regdictionary", PostgresNamed("regdictionary")),
    sa.Column("regoperator", PostgresNamed("regoperator")),
    sa.Column("regcollation", PostgresNamed("regcollation")),
    sa.Column("int4range", postgresql.INT4RANGE),
    sa.Column("int8range", postgresql.INT8RANGE),
    sa.Column("numrange", postgresql.NUMRANGE),
    sa.Column("daterange", postgresql.DATERANGE),
    sa.Column("tsrange", postgresql.TSRANGE),
    sa.Column("tstzrange", postgresql.TSTZRANGE),
    sa.Column("words", words),
    sa.Column("hours", hours),
    sa.Column("season", season),
    sa.Column("int4multirange", postgresql.INT4MULTIRANGE),
    sa.Column("nummultirange", postgresql.NUMMULTIRANGE),
    sa.Column("tstzmultirange", postgresql.TSTZMULTIRANGE),
    sa.Column("place", place),
    sa.Column("home", home),
    sa.Column("stay", stay),
    sa.Column("ints", postgresql.ARRAY(sa.Integer)),
    sa.Column("deep", postgresql.ARRAY(sa.Integer)),
    sa.Column("texts", postgresql.ARRAY(sa.Text)),
    sa.Column("moments", postgresql.ARRAY(sa.DateTime(timezone=True))),
    sa.Column("days", postgresql.ARRAY(sa.Date)),
    sa.Column("dates", numbers),
    sa.Column("lists", postgresql.ARRAY(numbers)),
    sa.Column("exacts", postgresql.ARRAY(sa.Numeric)),
    sa.Column("floats", postgresql.ARRAY(sa.Double)),
    sa.Column("jsonbs", postgresql.ARRAY(postgresql.JSONB)),
    sa.Column("jsons", postgresql.ARRAY(postgresql.JSON)),
    sa.Column("places", postgresql.ARRAY(place)),
    sa.Column("homes", postgresql.ARRAY(home)),
    sa.Column("ranges", postgresql.ARRAY(postgresql.INT4RANGE)),
    sa.Column("spans", postgresql.ARRAY(postgresql.TSTZRANGE)),
    sa.Column("multiranges", postgresql.ARRAY(postgresql.INT4MULTIRANGE)),
    sa.Column("uuids", postgresql.ARRAY(sa.Uuid)),
    sa.Column("byteas", postgresql.ARRAY(sa.LargeBinary)),
    sa.Column("intervals", postgresql.ARRAY(postgresql.INTERVAL)),
    sa.Column("citexts", postgresql.ARRAY(PostgresNamed("citext"))),
    sa.Column("inets", postgresql.ARRAY(postgresql.INET)),
    sa.Column("names", postgresql.ARRAY(PostgresNamed("name"))),
    sa.Column("_id", sa.Text),
    sa.Column("a.b", sa.Text),
    sa.Column("$c", sa.Text),
    sa.Column("date_us", sa.Integer),
    sa.Column("timestamptz_us", sa.Integer),
    sa.Column("twice", sa.Numeric, sa.Computed("money_like * (2)::numeric", persisted=True)),
    sa.PrimaryKeyConstraint("id", name="carried_pkey"),
    sa.ForeignKeyConstraint(["client_id"], ["public.client.id"], name="carried_client_id_fkey"),
)

limit = sa.Table(
    "limit",
    metadata,
    sa.Column("client_id", sa.BigInteger),
    sa.Column("until", sa.DateTime(timezone=True)),
    sa.Column("amount", sa.Numeric),
    sa.PrimaryKeyConstraint("client_id", "until", name="limit_pkey"),
    sa.ForeignKeyConstraint(["client_id"], ["public.client.id"], name="limit_client_id_fkey"),
)

refused = sa.Table(
    "refused",
    metadata,
    sa.Column("id", sa.Integer, autoincrement=False),
    sa.Column("client_id", sa.BigInteger, nullable=False),
    sa.Column("much_numeric", sa.Numeric),
    sa.Column("much_declared", sa.Numeric(40, 2)),
    sa.Column("much_range", postgresql.NUMRANGE),
    sa.Column("much_array", postgresql.ARRAY(sa.Numeric)),
    sa.Column("endless_date", sa.Date),
    sa.Column("endless_timestamp", sa.DateTime),
    sa.Column("endless_timestamptz", sa.DateTime(timezone=True)),
    sa.Column("endless_interval", postgresql.INTERVAL),
    sa.Column("endless_range", postgresql.DATERANGE),
    sa.Column("endless_multirange", postgresql.TSTZMULTIRANGE),
    sa.Column("endless_array", postgresql.ARRAY(sa.DateTime(timezone=True))),
    sa.Column("endless_composite", place),
    sa.Column("endless_deep", postgresql.ARRAY(stay)),
    sa.Column("endless_domain", season),
    sa.Column("odd_jsonb", postgresql.JSONB),
    sa.Column("odd_array", postgresql.ARRAY(sa.Integer)),
    sa.Column("odd_texts", postgresql.ARRAY(sa.Text)),
    sa.Column("odd_composite", stay),
    sa.Column("odd_ranges", postgresql.ARRAY(postgresql.NUMRANGE)),
    sa.PrimaryKeyConstraint("id", name="refused_pkey"),
    sa.ForeignKeyConstraint(["client_id"], ["public.client.id"], name="refused_client_id_fkey"),
)

used = sa.Table(
    "used",
    metadata,
    sa.Column("id", sa.Integer, autoincrement=False),
    sa.Column("client_id", sa.BigInteger, nullable=False),
    sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint("id", name="used_pkey"),
    sa.ForeignKeyConstraint(
        ["client_id", "until"],
        ["public.limit.client_id", "public.limit.until"],
        name="used_client_id_until_fkey",
    ),
)
