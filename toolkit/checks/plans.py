"""What a plan touched, read from the EXPLAIN of PostgreSQL and of MongoDB. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

#: A lookup that reads more rows than this without an index is a finding.
FEW_ROWS = 1_000

#: Of MongoDB's explain: not worth keeping, or of no use to a reader.
_NOISE = {
    "slotBasedPlan",
    "serverInfo",
    "serverParameters",
    "command",
    "$clusterTime",
    "operationTime",
    "ok",
}

#: Where stages of an aggregation name another collection.
_FROM = {"$lookup": "from", "$graphLookup": "from", "$unionWith": "coll"}


@dataclass(frozen=True)
class Scan:
    """A relation or collection that was read without the help of an index.

    Attributes:
        relation: its name.
        rows: how many rows or documents were read each time, as far as the plan says.
        how: what the server calls it.
    """

    relation: str
    rows: int
    how: str

    def __str__(self) -> str:
        return f"{self.relation} ({self.how}, {self.rows:,} rows)"


@dataclass(frozen=True)
class Trace:
    """What one run of a query touched.

    Attributes:
        relations: tables, partitions or collections that were read, in order.
        scans: those of them that were read without an index.
        plan: the server's own plan, for ``--output json``.
    """

    relations: tuple[str, ...]
    scans: tuple[Scan, ...]
    plan: Any


@dataclass(frozen=True)
class Touched:
    """The relations of a trace as regions.

    Attributes:
        regions: in the order of the topology.
        relations: every relation, regional or not.
    """

    regions: tuple[str, ...]
    relations: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return it for ``--output json``."""
        return asdict(self)


def touched(trace: Trace, parts: Mapping[str, str], codes: Sequence[str]) -> Touched:
    """Return the regions that a trace touched.

    Args:
        trace: of one run.
        parts: the region of each partition or collection.
        codes: of all regions, in order.
    """
    found = {parts[name] for name in trace.relations if name in parts}
    return Touched(tuple(code for code in codes if code in found), trace.relations)


# PostgreSQL ----------------------------------------------------------------------------------


def postgres_trace(explained: Any, schema: str, sizes: Mapping[str, int]) -> Trace:
    """Read EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON).

    A node that was never executed did not touch anything.

    Args:
        explained: what the server returned.
        schema: whose relations count; others are written with their schema.
        sizes: rows of each relation as the statistics have it.
    """
    relations: dict[str, None] = {}
    scans: dict[str, Scan] = {}
    plan = explained[0]["Plan"]
    for node in _nodes(plan):
        if "Relation Name" not in node or not node.get("Actual Loops"):
            continue
        name = str(node["Relation Name"])
        if node.get("Schema", schema) != schema:
            name = f"{node['Schema']}.{name}"
        relations[name] = None
        scan = _postgres_scan(name, node, sizes)
        if scan is not None and scan.rows >= scans.get(name, scan).rows:
            scans[name] = scan
    return Trace(tuple(relations), tuple(scans.values()), explained)


def confirmed(trace: Trace, forced: Trace) -> Trace:
    """Return a trace with those scans only for which there is no index.

    PostgreSQL reads a small table at once even if it has the right index.

    Args:
        trace: of the plan that PostgreSQL chose.
        forced: of its plan when it must use indexes wherever it can.
    """
    unserved = {scan.relation for scan in forced.scans}
    scans = tuple(scan for scan in trace.scans if scan.relation in unserved)
    return replace(trace, scans=scans)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _postgres_scan(name: str, node: Mapping[str, Any], sizes: Mapping[str, int]) -> Scan | None:
    kind = str(node["Node Type"])
    read = round(node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0))
    if kind == "Seq Scan":
        return Scan(name, max(read, sizes.get(name, 0)), kind)
    if kind in ("Index Scan", "Index Only Scan") and "Index Cond" not in node:
        # The whole index: as good as no index, unless a LIMIT stopped it early.
        return Scan(name, read, f"all of {node.get('Index Name')}")
    if (dropped := round(node.get("Rows Removed by Filter", 0))) > FEW_ROWS:
        # An index on something else, such as the region alone.
        return Scan(name, read, f"{kind} that drops {dropped:,} rows")
    return None


# MongoDB -------------------------------------------------------------------------------------


def mongo_trace(explained: Any, relations: Sequence[str]) -> Trace:
    """Read MongoDB's explain with ``executionStats``.

    Args:
        explained: what the server returned.
        relations: what :func:`mongo_relations` found.
    """
    scans: dict[str, Scan] = {}
    for scan in _mongo_scans(explained, ""):
        if scan.rows >= scans.get(scan.relation, scan).rows:
            scans[scan.relation] = scan
    return Trace(tuple(relations), tuple(scans.values()), _without_noise(explained))


def _mongo_scans(node: Any, collection: str) -> Iterator[Scan]:
    if isinstance(node, list):
        for item in node:
            yield from _mongo_scans(item, collection)
    if not isinstance(node, Mapping):
        return
    if "queryPlanner" in node:
        planner = node["queryPlanner"]
        collection = _collection(planner.get("namespace", collection))
        examined = int(node.get("executionStats", {}).get("totalDocsExamined", 0))
        yield from _stages(planner.get("winningPlan", {}), collection, examined)
        return
    lookup = node.get("$lookup")
    if isinstance(lookup, Mapping) and int(node.get("collectionScans", 0)) > 0:
        examined = int(node.get("totalDocsExamined", 0))
        yield Scan(_name(lookup.get("from")), examined, "$lookup without an index")
    for key, value in node.items():
        if key not in _NOISE and key != "rejectedPlans":
            yield from _mongo_scans(value, collection)


def _stages(node: Any, collection: str, examined: int) -> Iterator[Scan]:
    if isinstance(node, list):
        for item in node:
            yield from _stages(item, collection, examined)
    if not isinstance(node, Mapping):
        return
    stage = node.get("stage")
    if stage == "COLLSCAN":
        yield Scan(collection, examined, "COLLSCAN")
    strategy = node.get("strategy", "")
    if stage == "EQ_LOOKUP" and strategy in ("HashJoin", "NestedLoopJoin"):
        how = f"$lookup without an index, {strategy}"
        yield Scan(_collection(str(node.get("foreignCollection", ""))), examined, how)
    for key, value in node.items():
        if key not in _NOISE:
            yield from _stages(value, collection, examined)


def _collection(namespace: str) -> str:
    return namespace.partition(".")[2] or namespace


def _name(value: Any) -> str:
    return str(value.get("coll", "")) if isinstance(value, Mapping) else str(value)


def _without_noise(value: Any) -> Any:
    if isinstance(value, Mapping):
        new_engine = "slotBasedPlan" in value.get("queryPlanner", {}).get("winningPlan", {})
        return {
            key: _without_noise(item)
            for key, item in value.items()
            # What the slot-based engine says of its own instructions is megabytes of them.
            if key not in _NOISE and not (new_engine and key == "executionStats")
        } | ({"executionStats": _totals(value)} if new_engine else {})
    if isinstance(value, list):
        return [_without_noise(item) for item in value]
    return value


def _totals(value: Mapping[str, Any]) -> dict[str, Any]:
    statistics = value.get("executionStats", {})
    return {name: item for name, item in statistics.items() if not isinstance(item, Mapping | list)}


def mongo_relations(
    collection: str, pipeline: Any, views: Mapping[str, tuple[str, Any]]
) -> tuple[str, ...]:
    """Return every collection that an aggregation names, views resolved to what they unite.

    Args:
        collection: on which it starts.
        pipeline: its stages.
        views: of each view, the collection and the pipeline behind it.
    """
    found: dict[str, None] = {}

    def add(name: str) -> None:
        if name in views:
            inner, stages = views[name]
            add(inner)
            walk(stages)
        else:
            found[name] = None

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                walk(item)
        elif isinstance(node, Mapping):
            for key, value in node.items():
                if key in _FROM:
                    name = value if isinstance(value, str) else _named(value, _FROM[key])
                    if name is not None:
                        add(name)
                walk(value)

    add(collection)
    walk(pipeline)
    return tuple(found)


def _named(stage: Any, key: str) -> str | None:
    name = stage.get(key) if isinstance(stage, Mapping) else None
    return name if isinstance(name, str) else None


def writes(pipeline: Any) -> bool:
    """Return whether an aggregation would write."""
    return isinstance(pipeline, list) and any(
        isinstance(stage, Mapping) and {"$out", "$merge"} & stage.keys() for stage in pipeline
    )
