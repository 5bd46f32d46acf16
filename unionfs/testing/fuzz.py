"""The search: random cases until two drivers differ, then the shortest case that still shows it."""

from __future__ import annotations

import random
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import FlakyFailure, HypothesisWarning

from unionfs.testing.bench import Lab
from unionfs.testing.compare import Case, Difference, compare
from unionfs.testing.drivers import Driver
from unionfs.testing.generate import cases
from unionfs.testing.layers import Layer

BATCH = 200
SHRINK_S = 30.0


@dataclass
class Findings:
    """What a search found: the shortest differing case, and what was met on the way.

    seed is that of the last batch, in which the difference is.
    """

    seed: int = 0
    examples: int = 0
    seconds: float = 0.0
    case: Case | None = None
    differences: list[Difference] = field(default_factory=list)
    quirks: Counter[str] = field(default_factory=Counter)
    flaky: bool = False

    @property
    def rate(self) -> float:
        """Sequences a second."""
        return self.examples / self.seconds if self.seconds else 0.0


class Differs(AssertionError):
    """What hypothesis sees as the failure, and shrinks."""


def fuzz(
    lab: Lab,
    left: Driver,
    right: Driver,
    *,
    examples: int,
    seed_number: int | None = None,
    minutes: float | None = None,
    remount: bool = True,
    cross: bool = True,
    known: Sequence[re.Pattern[str]] = (),
    shrink: bool = True,
    progress: Callable[[Findings], None] = lambda findings: None,
) -> Findings:
    """Search until there is a difference, or until examples (or minutes) are used up.

    One seed always gives the same cases. With minutes the search goes on from batch to batch, each
    with the next seed. Raises UnionError when a driver cannot mount at all.
    """
    findings = Findings()
    began = time.monotonic()
    next_seed = random.SystemRandom().randrange(10**6) if seed_number is None else seed_number
    while findings.case is None:
        if minutes is not None and time.monotonic() - began > minutes * 60:
            break
        if minutes is None and findings.examples >= examples:
            break
        findings.seed = next_seed
        search(
            lab, left, right, findings, BATCH if minutes is not None else examples,
            remount=remount, cross=cross, known=known, shrink=shrink, progress=progress,
        )  # fmt: skip
        next_seed += 1
        findings.seconds = time.monotonic() - began
    return findings


def search(
    lab: Lab,
    left: Driver,
    right: Driver,
    findings: Findings,
    examples: int,
    *,
    remount: bool,
    cross: bool,
    known: Sequence[re.Pattern[str]],
    shrink: bool,
    progress: Callable[[Findings], None],
) -> None:
    """One run of hypothesis; what it shrinks to is then shortened operation by operation."""
    give_up = [float("inf")]

    def differences(case: Case) -> list[Difference]:
        report = compare(lab, left, right, case, remount=remount, cross=cross, known=known)
        if findings.case is None:
            findings.examples += 1
            findings.quirks.update(report.quirks)
            progress(findings)
        if report.differences:
            findings.case, findings.differences = case, report.differences
        return report.differences

    @seed(findings.seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,
    )
    @given(cases(left, right))
    def run(case: Case) -> None:
        if time.monotonic() > give_up[0]:
            return
        if found := differences(case):
            give_up[0] = min(give_up[0], time.monotonic() + SHRINK_S)
            raise Differs(str(found[0]))

    try:
        with warnings.catch_warnings():
            # A case as text is long; nobody prints it.
            warnings.simplefilter("ignore", HypothesisWarning)
            run()
    except Differs:
        pass
    except FlakyFailure:
        # Time was up while shrinking, or the difference comes and goes.
        pass
    if findings.case is not None and shrink:
        findings.flaky = not shorten(findings.case, differences)


def shorten(case: Case, differences: Callable[[Case], list[Difference]]) -> bool:
    """Leave out one operation, then one layer entry, after another while a difference stays.

    The callback keeps the last differing case. False when even the whole case does not differ any
    more: then the difference comes and goes.
    """
    if not differences(case):
        return False
    deadline = time.monotonic() + SHRINK_S
    shrunk = True
    while shrunk:
        shrunk = False
        for smaller in one_less(case):
            if time.monotonic() > deadline:
                return True
            if differences(smaller):
                case, shrunk = smaller, True
                break
    return True


def one_less(case: Case) -> Iterator[Case]:
    """The case without its n-th last operation, for each n; then without some layer entry."""
    for n in reversed(range(len(case.operations))):
        yield replace(case, operations=case.operations[:n] + case.operations[n + 1 :])
    for number, layer in enumerate(case.layers):
        for entry in reversed(layer):
            rest = without(layer, entry.path)
            yield replace(case, layers=(*case.layers[:number], rest, *case.layers[number + 1 :]))


def without(layer: Layer, path: str) -> Layer:
    """The layer without an object, what is below it, and hard links to any of that."""
    kept = [e for e in layer if not f"{e.path}/".startswith(f"{path}/")]
    paths = {e.path for e in kept}
    return tuple(e for e in kept if e.kind != "hardlink" or e.target in paths)
