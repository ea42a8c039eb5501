"""Functions and triggers as text: read, put into another schema, and kept silent on a move."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolkit.errors import Refused, UsageError
from toolkit.extras import (
    Extra,
    ExtraKind,
    guarded,
    guarded_rule,
    in_schemas,
    parse,
    render,
)

GUARD = "current_setting('regionkit.moving', true) IS DISTINCT FROM 'on'"

TEXT = """-- Functions of the shop.

-- regionkit: function keep_balance
CREATE OR REPLACE FUNCTION shop.keep_balance() RETURNS trigger LANGUAGE plpgsql AS $$
begin
  -- a comment; with a semicolon
  return null;
end;
$$;

--regionkit:   trigger entry_balance on entry
CREATE TRIGGER entry_balance AFTER INSERT ON shop.entry FOR EACH ROW
EXECUTE FUNCTION shop.keep_balance();
"""

# Reading ------------------------------------------------------------------------------------


def test_a_file_is_read_in_order() -> None:
    function, trigger = parse(TEXT)
    assert (function.kind, function.name, function.table) == ("function", "keep_balance", None)
    assert function.definition.startswith("CREATE OR REPLACE FUNCTION shop.keep_balance()")
    assert function.definition.endswith("end;\n$$")
    assert (trigger.kind, trigger.name, trigger.table) == ("trigger", "entry_balance", "entry")
    assert trigger.definition.endswith("EXECUTE FUNCTION shop.keep_balance()")


@pytest.mark.parametrize("text", ["", "\n\n", "-- only a comment\n"])
def test_no_extras(text: str) -> None:
    assert parse(text) == ()


def test_line_ends_of_another_system() -> None:
    assert [extra.name for extra in parse(TEXT.replace("\n", "\r\n"))] == [
        "keep_balance",
        "entry_balance",
    ]


def test_the_extras_of_the_reference_bank_are_read() -> None:
    extras = parse(files("schemas.bank").joinpath("extras.sql").read_text("utf-8"))
    assert [(extra.kind.value, extra.name) for extra in extras] == [
        ("function", "apply_entry"),
        ("trigger", "ledger_entry_balance"),
    ]
    assert guarded(extras[1]).definition != extras[1].definition


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CREATE VIEW v AS SELECT 1;\n" + TEXT, "no '-- regionkit:' line introduces"),
        ("CREATE VIEW v AS SELECT 1;\n", "no '-- regionkit:' line introduces"),
        ("-- regionkit: thing v\nCREATE VIEW v;", "'-- regionkit: thing v'"),
        ("-- regionkit: function\nCREATE ...;", "'-- regionkit: function'"),
        ("-- regionkit: trigger t\nCREATE ...;", "'-- regionkit: trigger t'"),
        ("-- regionkit: function f on t\nCREATE ...;", "'-- regionkit: function f on t'"),
        ("-- regionkit: trigger t on a b\nCREATE ...;", "'-- regionkit: trigger t on a b'"),
        ("-- regionkit:\nCREATE ...;", "'-- regionkit: '"),
        ("-- regionkit: function f\n\n" + TEXT, "'-- regionkit: function f'"),
        ("-- regionkit: function f\n-- nothing\n;\n", "'-- regionkit: function f'"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert message in caught.value.message
    assert "write " in caught.value.hint


# Another schema -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SELECT shop.f()", 'SELECT "r".f()'),
        ('SELECT "shop".f()', 'SELECT "r".f()'),
        ("SELECT Shop.f(), SHOP.g()", 'SELECT "r".f(), "r".g()'),
        ('shop."T"', '"r"."T"'),
        ("ON shop.entry FOR", 'ON "r".entry FOR'),
        ("(shop.a,shop.b)", '("r".a,"r".b)'),
        ("'x'::shop.mood", "'x'::\"r\".mood"),
        ("nextval('shop.seq'::regclass)", "nextval('\"r\".seq'::regclass)"),
        # Not this schema.
        ("workshop.f()", "workshop.f()"),
        ("shopping.f()", "shopping.f()"),
        ("shop_old.f()", "shop_old.f()"),
        ("x.shop.f()", "x.shop.f()"),
        ('"Shop".f()', '"Shop".f()'),
        ('"my shop".f()', '"my shop".f()'),
        ("$shop.f", "$shop.f"),
        ("the shop. It", "the shop. It"),
        ("SELECT shop FROM t", "SELECT shop FROM t"),
        # A function that fixes its own search path.
        ("SET search_path TO 'shop', 'pg_temp'", "SET search_path TO \"r\", 'pg_temp'"),
        ("SET search_path = shop, public", 'SET search_path = "r", public'),
        ('set search_path to "$user",SHOP', 'set search_path to "$user", "r"'),
        ("SET LOCAL search_path=shop AS $$", 'SET LOCAL search_path="r" AS $$'),
        ("SET search_path TO workshop", "SET search_path TO workshop"),
    ],
)
def test_qualifiers_and_search_paths_are_replaced(before: str, after: str) -> None:
    assert in_schemas(before, {"shop": "r"}) == after


@pytest.mark.parametrize("source", ["Shop", "my shop", "a.b", 'say "hi"', "größe", "x+y"])
def test_a_schema_that_needs_quotes(source: str) -> None:
    quoted = '"' + source.replace('"', '""') + '"'
    assert in_schemas(f"{quoted}.f()", {source: "r"}) == '"r".f()'


def test_a_schema_in_capitals_is_meant_only_in_quotes() -> None:
    assert in_schemas('shop.f("Shop".g)', {"Shop": "r"}) == 'shop.f("r".g)'


@pytest.mark.parametrize("target", ["r", "my shop", r"back\1slash", 'say "hi"', "Größe"])
def test_any_name_of_a_target(target: str) -> None:
    quoted = '"' + target.replace('"', '""') + '"'
    assert in_schemas("shop.f()", {"shop": target}) == f"{quoted}.f()"


def test_schemas_that_change_places_are_replaced_once() -> None:
    assert in_schemas("a.f(b.g)", {"a": "b", "b": "a"}) == '"b".f("a".g)'


def test_nothing_to_replace() -> None:
    assert in_schemas(TEXT, {}) == TEXT


IDENTIFIERS = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@given(IDENTIFIERS, IDENTIFIERS, st.text(alphabet="ab.\"' _$1", max_size=30))
def test_text_without_the_schema_is_left_alone(source: str, target: str, text: str) -> None:
    if source not in text.lower():
        assert in_schemas(text, {source: target}) == text


@given(IDENTIFIERS.filter(lambda name: name != "other"), st.lists(IDENTIFIERS, min_size=1))
def test_every_qualifier_is_replaced(source: str, names: list[str]) -> None:
    text = ", ".join(f"{source}.{name}" for name in names)
    assert in_schemas(text, {source: "other"}) == ", ".join(f'"other".{name}' for name in names)


# Silence ------------------------------------------------------------------------------------


def trigger(definition: str) -> Extra:
    return Extra(ExtraKind.trigger, "t", definition, "entry")


EVENTS = [
    "BEFORE INSERT",
    "AFTER INSERT OR DELETE OR UPDATE",
    "BEFORE UPDATE OF balance, owner",
    "AFTER INSERT",
]
WHENS = [
    "",
    "new.amount > 0",
    "((old.* IS DISTINCT FROM new.*))",
    "(new.note ~ ' FOR EACH ROW') OR (new.a = ')')",
    "(old.a = 1) OR\n (old.b = 2)",
]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("call", ["FUNCTION shop.f()", "PROCEDURE f('a', 'WHEN (x)')"])
def test_a_row_trigger_is_silent_while_rows_move(event: str, when: str, call: str) -> None:
    condition = f" WHEN ({when})" if when else ""
    made = guarded(
        trigger(f"CREATE TRIGGER t {event} ON shop.entry FOR EACH ROW{condition} EXECUTE {call}")
    )
    expected = f"(({when}) AND {GUARD})" if when else f"({GUARD})"
    assert made.definition == (
        f"CREATE TRIGGER t {event} ON shop.entry FOR EACH ROW WHEN {expected} EXECUTE {call}"
    )
    assert (made.kind, made.name, made.table) == (ExtraKind.trigger, "t", "entry")


def test_a_condition_with_or_stays_inside_its_parentheses() -> None:
    made = guarded(
        trigger(
            "CREATE TRIGGER t AFTER INSERT ON e FOR EACH ROW WHEN (a OR b) EXECUTE FUNCTION f()"
        )
    )
    assert f"WHEN ((a OR b) AND {GUARD})" in made.definition


def test_a_constraint_trigger_keeps_its_timing() -> None:
    made = guarded(
        trigger(
            "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON e DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION f()"
        )
    )
    assert made.definition == (
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON e DEFERRABLE INITIALLY DEFERRED "
        f"FOR EACH ROW WHEN ({GUARD}) EXECUTE FUNCTION f()"
    )


def test_lower_case_and_lines_are_read_too() -> None:
    made = guarded(
        trigger("create trigger t\n  after insert on e\n  for each row\n  execute function f()")
    )
    assert re.search(rf"for each row WHEN \({re.escape(GUARD)}\)\s+execute", made.definition)


@pytest.mark.parametrize("references", ["", " REFERENCING NEW TABLE AS fresh"])
def test_a_statement_trigger_stays_as_it_is(references: str) -> None:
    statement = trigger(
        f"CREATE TRIGGER t AFTER INSERT ON e{references} FOR EACH STATEMENT EXECUTE FUNCTION f()"
    )
    assert guarded(statement) == statement


def test_transition_tables_are_refused_by_name() -> None:
    with pytest.raises(Refused, match="'t' on 'entry' uses transition tables") as caught:
        guarded(
            trigger(
                "CREATE TRIGGER t AFTER INSERT ON e REFERENCING NEW TABLE AS fresh "
                "FOR EACH ROW EXECUTE FUNCTION f()"
            )
        )
    assert "statement trigger" in caught.value.hint


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "CREATE FUNCTION f() RETURNS trigger",
        "CREATE TRIGGER t AFTER INSERT ON e EXECUTE FUNCTION f()",
        "CREATE TRIGGER t AFTER INSERT ON e FOR EACH ROW",
    ],
)
def test_what_postgresql_does_not_print_is_refused_by_name(definition: str) -> None:
    with pytest.raises(Refused, match="'t' on 'entry'") as caught:
        guarded(trigger(definition))
    assert "pg_get_triggerdef" in caught.value.hint


def test_a_trigger_keeps_its_state() -> None:
    text = (
        "-- regionkit: trigger t on shelf disabled\n"
        "CREATE TRIGGER t AFTER INSERT ON shop.shelf FOR EACH ROW EXECUTE FUNCTION shop.f();\n"
    )
    (extra,) = parse(text)
    assert (extra.table, extra.state) == ("shelf", "disabled")
    assert guarded(extra).state == "disabled"


# The whole file -----------------------------------------------------------------------------

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"\\.\n :()'), min_size=1
)
ON_TABLE = [ExtraKind.trigger, ExtraKind.rule, ExtraKind.policy, ExtraKind.storage]
ALONE = [ExtraKind.view, ExtraKind.domain, ExtraKind.type, ExtraKind.operator_class]
BODIES = st.sampled_from(
    [
        "CREATE VIEW v AS SELECT 1",
        "CREATE FUNCTION f() AS $$\n-- regionkit: view x\n$$",
        "SELECT '\n-- regionkit: view x\n'",
        "A;\nB;\n-- c\nD",
    ]
)


@st.composite
def some_extras(draw: st.DrawFn) -> Extra:
    name, schema = draw(NAMES), draw(st.none() | NAMES)
    kind = draw(st.sampled_from([*ON_TABLE, *ALONE, ExtraKind.function, ExtraKind.comment]))
    extra = Extra(kind, name, draw(BODIES), schema=schema, early=draw(st.booleans()))
    if kind in ON_TABLE:
        extra = replace(extra, table=draw(NAMES))
    if kind is ExtraKind.trigger:
        extra = replace(extra, state=draw(st.sampled_from([None, "disabled", "always"])))
    if kind is ExtraKind.function:
        arguments = ["", "a integer", "VARIADIC b text[] DEFAULT '{a,\")b\"}'", "x on.y"]
        extra = replace(extra, arguments=draw(st.none() | st.sampled_from(arguments)))
    if kind is ExtraKind.comment:
        extra = replace(
            extra, of=draw(st.sampled_from(["view", "constraint", "materialized view"]))
        )
    if draw(st.booleans()):
        extra = replace(extra, left="it is: so", definition="", early=False, state=None)
    return extra


@given(st.lists(some_extras(), max_size=5))
@example([Extra(ExtraKind.trigger, "0", "SELECT 1", ".")])
def test_what_is_written_is_read_back(extras: list[Extra]) -> None:
    ordered = [*(e for e in extras if e.early), *(e for e in extras if not e.early)]
    if not any(extra.early for extra in extras):
        # Without the line that divides them, types come first.
        ordered = [
            replace(e, early=not e.left and e.kind in (ExtraKind.domain, ExtraKind.type))
            for e in ordered
        ]
    assert list(parse(render(extras))) == ordered


def test_the_order_is_that_of_the_file() -> None:
    text = (
        "-- regionkit: function g()\nCREATE FUNCTION g() ...;\n-- regionkit: tables\n"
        "-- regionkit: domain d\nCREATE DOMAIN d ...;\n"
    )
    assert [(extra.name, extra.early) for extra in parse(text)] == [("g", True), ("d", False)]
    undivided = text.replace("-- regionkit: tables\n", "")
    assert [extra.early for extra in parse(undivided)] == [False, True]


def test_a_statement_below_the_dividing_line() -> None:
    with pytest.raises(UsageError, match="follows the line '-- regionkit: tables'"):
        parse("-- regionkit: tables\nSELECT 1;")


# Rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "CREATE RULE r AS\n    ON DELETE TO shop.log DO INSTEAD NOTHING",
            "CREATE RULE r AS\n    ON DELETE TO shop.log\n  WHERE (@) DO INSTEAD NOTHING",
        ),
        (
            "CREATE RULE r AS ON UPDATE TO t\n   WHERE (new.a = ' DO ') DO  (a; b)",
            "CREATE RULE r AS ON UPDATE TO t\n  WHERE (((new.a = ' DO ')) AND @) DO  (a; b)",
        ),
        (
            "CREATE RULE r AS ON UPDATE TO t WHERE (EXISTS (SELECT FROM x WHERE y)) DO ALSO z",
            "CREATE RULE r AS ON UPDATE TO t\n"
            "  WHERE (((EXISTS (SELECT FROM x WHERE y))) AND @) DO ALSO z",
        ),
    ],
)
def test_a_rule_is_silent_while_rows_move(before: str, after: str) -> None:
    rule = Extra(ExtraKind.rule, "r", before, "t")
    assert guarded_rule(rule).definition == after.replace("@", GUARD)


def test_what_is_no_rule_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="rule 'r' on 't'"):
        guarded_rule(Extra(ExtraKind.rule, "r", "CREATE RULE r AS ON DELETE TO t", "t"))
