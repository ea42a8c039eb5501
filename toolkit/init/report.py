"""The report of ``regionkit init``: for people as Markdown, for scripts as one document. Pure.

It holds counts and names, and the values that the rule of the root is about; never a row's key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from toolkit.evidence import TableEvidence
from toolkit.init.ownership import ways_of
from toolkit.init.seen import Seen
from toolkit.init.statements import lines
from toolkit.inventory import Outcome
from toolkit.placement import ForeignKey, Kind, Role


def placement_rows(seen: Seen) -> list[tuple[str, str, str]]:
    """Return each table with its kind and its home path, or the reason for its kind."""
    found = []
    asked = {one.subject for one in seen.open}
    stated = {one.table: one for one in seen.stated}
    for key, placed in seen.decisions.placement.tables.items():
        kind, why = placed.kind.value, placed.reason
        privacy = seen.decisions.privacy.get(key)
        choice = seen.decisions.choices.get(key)
        if placed.kind is Kind.undecided and key in stated:
            kind, why = "global", "no foreign key, name or value leads to a client"
        elif placed.kind is Kind.undecided:
            why = "to be decided" if key in asked else "it follows what is decided of its parent"
        elif choice is not None and choice.alternatives:
            kind, why = (
                "to be decided",
                f"its rows follow {' or '.join(map(_columns, choice.alternatives))}",
            )
        elif placed.home is not None:
            why = path(placed.home_path)
            if privacy is not None and privacy.through is not None:
                why = f"{seen.root} by {privacy.through.table} via {_columns(privacy.through)}"
        elif privacy is not None and privacy.through is None:
            why = privacy.why
        found.append((key, kind, why))
    return found


def path(keys: Sequence[ForeignKey]) -> str:
    """Return a home path: ``order_id -> orders, customer_id -> customers``."""
    return ", ".join(f"{_columns(key)} -> {key.target}" for key in keys)


def references(seen: Seen) -> list[dict[str, Any]]:
    """Return every foreign key that may lead to another client, with how many rows do."""
    found = []
    for key, choice in seen.decisions.choices.items():
        evidence = seen.decisions.evidence[key]
        for way in ways_of(seen.decisions.placement, key):
            if way == choice.home:
                continue
            meeting = evidence.meeting(choice.home, way)
            role = _role(seen, key, way)
            found.append(
                {
                    "table": key,
                    "columns": list(way.columns),
                    "target": way.target,
                    "role": role.value,
                    "rows": evidence.ways[way].filled,
                    "other_client": meeting.clients,
                    "other_region": meeting.regions,
                }
            )
    for key, placed in seen.decisions.placement.tables.items():
        if placed.regional:
            continue
        evidence = seen.decisions.evidence.get(key, TableEvidence({}))
        found += [
            {
                "table": key,
                "columns": list(way.columns),
                "target": way.target,
                "role": Role.foreign_reference.value,
                "rows": found_way.filled,
                "other_client": found_way.clients,
                "other_region": found_way.clients,
            }
            for way, found_way in evidence.ways.items()
        ]
    return found


def _role(seen: Seen, key: str, way: ForeignKey) -> Role:
    if seen.layout is not None:
        role = seen.layout.placement[key].roles.get(way)
        if role is not None:
            return role
    same = way in seen.decisions.choices[key].same_region
    return Role.same_region if same else Role.foreign_reference


def document(seen: Seen) -> dict[str, Any]:
    """Return the whole report as JSON."""
    codes = seen.topology.codes
    return {
        "source": {
            "database": seen.database,
            "schemas": list(seen.schemas),
            "default_schema": seen.default_schema,
        },
        "root": seen.root,
        "regions": {
            code: {
                "clients": seen.decisions.evidence[seen.root].rows.get(code, 0),
                "rows": sum(_rows(seen, key).get(code, 0) for key in seen.decisions.evidence),
                "bytes": sum(
                    seen.region_bytes(key).get(code, 0) for key in seen.decisions.evidence
                ),
            }
            for code in codes
        },
        "tables": [
            {
                "table": key,
                "placement": kind,
                "home": why,
                "rows": _rows(seen, key),
                "bytes": seen.bytes.get(key, 0),
                "bytes_per_region": seen.region_bytes(key),
            }
            for key, kind, why in placement_rows(seen)
        ],
        "references": references(seen),
        "uniques": [
            {
                "table": one.table,
                "name": one.name,
                "columns": list(one.columns),
                "outcome": one.outcome,
            }
            for one in seen.uniques
        ],
        "statements": [
            {"table": one.table, "lines": list(lines(one.statement)), "why": one.why}
            for one in seen.stated
        ],
        "decisions": [
            {
                "subject": one.subject,
                "question": one.question,
                "choices": [list(choice) for choice in one.choices],
                "todo": one.todo,
            }
            for one in seen.open
        ],
        "refused": [{"backend": backend, "what": text} for backend, text in seen.refused],
        "inventory": [line.document() for line in seen.inventory],
        "notes": [{"subject": note.subject, "text": note.text} for note in seen.notes],
        "clients_without_region": len(seen.homeless),
        "unmapped": [{"value": value, "clients": count} for value, count in seen.unmapped.items()],
    }


def markdown(seen: Seen, *, whole: bool = True) -> str:
    """Return the report for people.

    Args:
        seen: what was seen.
        whole: whether to name the objects too that are carried; they are many.
    """
    parts = [
        f"# {seen.database}: what regionkit init saw",
        "",
        f"The clients are the rows of `{seen.root}`. Read from "
        f"{', '.join(f'`{name}`' for name in seen.schemas)}, in one snapshot; nothing was written "
        "there.",
        "",
        *_open(seen),
        *_regions(seen),
        *_placements(seen),
        *_references(seen),
        *_uniques(seen),
        *_refused(seen),
        *_inventory(seen, whole=whole),
        *_notes(seen),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _open(seen: Seen) -> Iterable[str]:
    yield "## To be decided"
    yield ""
    if not seen.open:
        yield "Nothing: `regionkit generate` works on what was written."
        yield ""
        return
    for number, one in enumerate(seen.open, 1):
        yield f"{number}. **{one.subject}**: {one.question}."
        for place, choice in enumerate(one.choices):
            yield ""
            yield f"   {'or' if place else 'Add'}:"
            yield ""
            yield "   ```toml"
            yield from (f"   {line}" for line in choice)
            yield "   ```"
        if one.todo:
            yield f"   To do: {one.todo}."
        yield ""


def _regions(seen: Seen) -> Iterable[str]:
    regional = [key for key, kind, _ in placement_rows(seen) if kind in ("root", "owned")]
    shared = [key for key in seen.decisions.evidence if key not in regional]
    yield "## Rows and bytes per region"
    yield ""
    yield "Bytes as stored in the source, without indexes, in proportion to the rows."
    yield ""
    rows = []
    clients = _rows(seen, seen.root)
    for code in (*seen.topology.codes, ""):
        count = sum(_rows(seen, key).get(code, 0) for key in regional)
        size = sum(seen.region_bytes(key).get(code, 0) for key in regional)
        if code or count:
            rows.append((code or "none", f"{clients.get(code, 0):,}", f"{count:,}", _size(size)))
    shared_rows = sum(sum(_rows(seen, key).values()) for key in shared)
    rows.append(
        ("global", "", f"{shared_rows:,}", _size(sum(seen.bytes.get(k, 0) for k in shared)))
    )
    yield from table(("region", "clients", "rows", "bytes"), rows)


def _placements(seen: Seen) -> Iterable[str]:
    yield "## Tables"
    yield ""
    codes = seen.topology.codes
    rows = []
    for key, kind, why in placement_rows(seen):
        counts = _rows(seen, key)
        regional = kind in ("root", "owned")
        rows.append(
            (
                key,
                kind,
                why,
                *(f"{counts.get(code, 0):,}" if regional else "" for code in codes),
                f"{sum(counts.values()):,}",
                _size(seen.bytes.get(key, 0)),
            )
        )
    yield from table(("table", "placement", "home path, or why", *codes, "rows", "bytes"), rows)
    if seen.stated:
        yield "Stated in `regionkit.toml`, because the data confirm it:"
        yield ""
        for one in seen.stated:
            yield f"- `{one.table}`: `{'; '.join(lines(one.statement))}`. {one.why}"
        yield ""


def _references(seen: Seen) -> Iterable[str]:
    yield "## Foreign keys beside the home path"
    yield ""
    rows = [
        (
            f"{one['table']}({', '.join(one['columns'])})",
            one["target"],
            one["role"],
            f"{one['rows']:,}",
            f"{one['other_client']:,}",
            f"{one['other_region']:,}",
        )
        for one in references(seen)
    ]
    if not rows:
        yield "None leads to a regional table."
        yield ""
        return
    yield from table(
        ("foreign key", "to", "becomes", "rows", "of another client", "across regions"), rows
    )


def _uniques(seen: Seen) -> Iterable[str]:
    if not seen.uniques:
        return
    yield "## Unique constraints of regional tables"
    yield ""
    yield from table(
        ("table", "constraint", "columns", "stays unique"),
        [(one.table, one.name, ", ".join(one.columns), one.outcome) for one in seen.uniques],
    )


def _refused(seen: Seen) -> Iterable[str]:
    if not seen.refused:
        return
    yield "## What cannot be carried"
    yield ""
    yield from (f"- {backend}: {text}" for backend, text in seen.refused)
    yield ""


def _inventory(seen: Seen, *, whole: bool) -> Iterable[str]:
    if not seen.inventory:
        return
    yield "## What becomes of each object"
    yield ""
    shown = seen.inventory
    if not whole:
        counts = Counter((line.backend, line.outcome.value) for line in seen.inventory)
        figures = "; ".join(
            f"{backend}: {count:,} {outcome}" for (backend, outcome), count in counts.items()
        )
        yield f"{figures}. The report in the folder has a line for each."
        yield ""
        gone = (Outcome.left_behind, Outcome.elsewhere)
        shown = tuple(line for line in seen.inventory if line.outcome in gone)
    if not shown:
        return
    yield from table(
        ("backend", "kind", "name", "outcome", "reason"),
        [(one.backend, one.kind, one.name, one.outcome.value, one.reason) for one in shown],
    )


def _notes(seen: Seen) -> Iterable[str]:
    if not seen.notes:
        return
    yield "## Notes"
    yield ""
    yield from (f"- {note}" for note in seen.notes)
    yield ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Yield a Markdown table that can be read as it is, and an empty line."""
    cells = [[_cell(text) for text in row] for row in (header, *rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    for number, row in enumerate(cells):
        yield (
            "| "
            + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
            + " |"
        )
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _rows(seen: Seen, key: str) -> dict[str, int]:
    found = seen.decisions.evidence.get(key)
    return dict(found.rows) if found is not None else {}


def _columns(key: ForeignKey) -> str:
    return ", ".join(key.columns)


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    raise AssertionError
