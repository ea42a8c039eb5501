"""Plans faults from a seed, strikes, resumes, checks, counts."""

from __future__ import annotations

import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.failpoints import Mode
from tests.faults.kinds import KINDS, Kind, Missed
from tests.faults.servers import Ground, Hang, Scene
from tests.faults.subjects import SUBJECTS
from tests.live.support import Result


@dataclass(frozen=True)
class Fault:
    """One fault of a campaign: with the campaign's seed, its id is all that a replay needs.

    Attributes:
        kind: what is done.
        subject: to which subject.
        mode: on which backend.
        number: how many of its kind came before.
    """

    kind: Kind
    subject: str
    mode: Mode
    number: int

    @property
    def id(self) -> str:
        """What ``ONLY`` names."""
        return f"{self.kind.name}/{self.subject}/{self.mode}/{self.number}"

    def generator(self, seed: int) -> random.Random:
        """Return the generator of its random numbers."""
        return random.Random(f"{seed}/{self.id}")


def every(kind: Kind, count: int) -> Iterator[Fault]:
    """Yield faults of a kind, going round backends and subjects."""
    places = [(subject, mode) for subject in SUBJECTS for mode in kind.modes]
    # So that two in a row differ in both.
    places.sort(key=lambda place: (list(SUBJECTS).index(place[0]) + kind.modes.index(place[1])) % 2)
    for number in range(count):
        subject, mode = places[number % len(places)]
        yield Fault(kind, subject, mode, number)


def plan(
    seed: int, count: int | None = None, only: str = "", *, quick: bool = False
) -> list[Fault]:
    """Return the faults of a campaign.

    Args:
        seed: of the choice, and of every fault.
        count: how many; by default all of a full campaign. A smaller number takes a seeded share
            in which no kind comes twice before each came once.
        only: the ids that begin with this, and no others.
        quick: leave out the kinds that wait for somebody's timeout.
    """
    kinds = [kind for kind in KINDS if not (quick and kind.slow)]
    faults = [fault for kind in kinds for fault in every(kind, kind.count)]
    if only:
        return [fault for fault in faults if fault.id.startswith(only)]
    if count is None or count >= len(faults):
        return faults
    shuffled = random.Random(f"{seed}/plan").sample(faults, len(faults))
    rounds: Counter[str] = Counter()
    ranked = []
    for fault in shuffled:
        ranked.append((rounds[fault.kind.name], fault))
        rounds[fault.kind.name] += 1
    ranked.sort(key=lambda entry: entry[0])
    return [fault for _, fault in ranked[:count]]


@dataclass
class Outcome:
    """What became of one fault.

    Attributes:
        fault: it.
        seconds: what it took.
        violations: what did not hold.
        missed: why it could not be done; empty if it was.
    """

    fault: Fault
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)
    missed: str = ""


def run(fault: Fault, ground: Ground, seed: int) -> Outcome:
    """Do one fault; resume; check every invariant."""
    outcome = Outcome(fault)
    began = time.monotonic()
    try:
        with ground.scene(fault.mode, changing=fault.kind.changing) as scene:
            outcome.violations += fault.kind.strike(scene, fault.generator(seed))
            outcome.violations += settle(scene)
    except Missed as miss:
        outcome.missed = str(miss)
    except Hang as hang:
        outcome.violations.append(f"hang: {hang}")
    except Exception as error:  # noqa: BLE001 - one fault that fails must not end the campaign
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome.violations.append(
            f"campaign: {type(error).__name__} at {where.filename}:{where.lineno}: {error}"
        )
    if outcome.violations and fault.mode == "mongo":
        ground.restore_mongo(anew=True)
    outcome.seconds = time.monotonic() - began
    return outcome


def settle(scene: Scene) -> list[str]:
    """Resume, and check I1 to I8; return what is violated."""
    lines: list[str] = []
    result = _run(scene, "migrate", "--output", "json", "-q")
    if result.code in (5, 9, 10) and scene.source_changed:
        # What a first run brings in it may also only report: the next one has it.
        result = _run(scene, "migrate", "--output", "json", "-q")
    if result.code != 0:
        return [f"resume: ended with {result.code}: {_short(result.err)}"]
    lines += scene.invariants()
    rerun = _run(scene, "migrate", "--output", "json", "-q")
    if rerun.code != 0:
        lines.append(f"I7: a rerun ended with {rerun.code}: {_short(rerun.err)}")
    else:
        copied = sum(json.loads(rerun.out)["results"][0]["copied"].values())
        if copied:
            lines.append(f"I7: a rerun wrote {copied} rows")
    verified = _run(scene, "verify", "-q")
    if verified.code != 0:
        lines.append(f"verify: ended with {verified.code}: {_short(verified.err)}")
    return lines


def _run(scene: Scene, command: str, *arguments: str) -> Result:
    return scene.journey.run(command, "--backend", scene.backend, *arguments)


def _short(text: str) -> str:
    return " | ".join(text.splitlines())[:400]


def campaign(
    faults: Sequence[Fault], grounds: dict[str, Ground], seed: int, *, quiet: bool = False
) -> list[Outcome]:
    """Do faults one after the other, and say of each how it went."""
    outcomes = []
    for number, fault in enumerate(faults, 1):
        outcome = run(fault, grounds[fault.subject], seed)
        outcomes.append(outcome)
        word = "missed" if outcome.missed else "VIOLATED" if outcome.violations else "ok"
        if not quiet or outcome.violations:
            print(f"{number:4} {word:8} {outcome.seconds:5.1f} s  {fault.id}", file=sys.stderr)
        for line in outcome.violations:
            print(f"       {line}", file=sys.stderr)
        if outcome.violations:
            print(f"       replay: {replay(seed, fault)}", file=sys.stderr)
        if outcome.missed and not quiet:
            print(f"       {outcome.missed}", file=sys.stderr)
        sys.stderr.flush()
    return outcomes


def replay(seed: int, fault: Fault) -> str:
    """Return the command that does one fault again."""
    return f"make faults SEED={seed} ONLY='{fault.id}'"


def document(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    """Return everything that was counted."""
    done = [outcome for outcome in outcomes if not outcome.missed]
    kinds: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        entry = kinds.setdefault(
            outcome.fault.kind.name,
            {
                "row": outcome.fault.kind.row,
                "done": 0,
                "missed": 0,
                "violated": 0,
                "seconds": 0.0,
                "same": 0,
                "other": 0,
                "mongo": 0,
            },
        )
        entry["missed" if outcome.missed else "done"] += 1
        entry["violated"] += bool(outcome.violations)
        entry["seconds"] += outcome.seconds
        if not outcome.missed:
            entry[outcome.fault.mode] += 1
    kills = [outcome for outcome in done if outcome.fault.kind.point]
    return {
        "seed": seed,
        "faults": len(done),
        "kills_of_the_tool": len(kills),
        "kills_while_writing": sum(outcome.fault.kind.writes for outcome in kills),
        "kills_of_servers": dict(
            Counter(outcome.fault.kind.server for outcome in done if outcome.fault.kind.server)
        ),
        "missed": [
            {"fault": outcome.fault.id, "why": outcome.missed}
            for outcome in outcomes
            if outcome.missed
        ],
        "seconds": sum(outcome.seconds for outcome in outcomes),
        "kinds": kinds,
        "violations": [
            {
                "fault": outcome.fault.id,
                "replay": replay(seed, outcome.fault),
                "lines": outcome.violations,
            }
            for outcome in outcomes
            if outcome.violations
        ],
    }


def table(counted: dict[str, Any]) -> str:
    """Return the counts as Markdown."""
    lines = [
        "| row | fault | done | same database | other server | MongoDB | violated | missed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {entry['row']} | {name} | {entry['done']} | {entry['same']} | {entry['other']} | "
        f"{entry['mongo']} | {entry['violated']} | {entry['missed']} |"
        for name, entry in counted["kinds"].items()
    ]
    return "\n".join(lines)
