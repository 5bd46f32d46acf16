"""The search: random cases until two drivers differ, then the shortest case that shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from .drivers import Driver
from .operations import VOCABULARY, Operation
from .oracle import Case, Difference, compare
from .tables import Thing

# Few paths, so that operations meet: most bugs need two of them on one name.
PATHS = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "c"])
THINGS = st.sampled_from(
    [
        Thing("file", "x"),
        Thing("file", "longer", 0o4755),
        Thing("file", "", 0o600),
        Thing("dir", mode=0o755),
        Thing("dir", mode=0o2775),
        Thing("file", "y"),
        Thing("dir"),
        Thing("symlink", "a"),
        Thing("fifo"),
        Thing("whiteout"),
        Thing("opaque"),
    ]
)
LAYERS = st.lists(st.dictionaries(PATHS, THINGS, max_size=7), min_size=1, max_size=3).map(tuple)
OPERATIONS = st.lists(
    st.builds(Operation, st.sampled_from(sorted(VOCABULARY)), PATHS, PATHS, st.integers(0, 9)),
    min_size=1,
    max_size=25,
).map(tuple)
CASES = st.builds(Case, LAYERS, OPERATIONS)


@dataclass(slots=True)
class Result:
    """How many cases were run, and the shortest that differed, if one did."""

    cases: int = 0
    case: Case | None = None
    differences: tuple[Difference, ...] = ()


def fuzz(
    left: Driver, right: Driver, *, examples: int, minutes: float | None, seed: int | None
) -> Result:
    """Look for a difference in *examples* cases, or for *minutes*; shrinks what it finds.

    A *seed* of None makes every run the same.
    """
    result = Result()
    deadline = None if minutes is None else time.monotonic() + minutes * 60

    def differs(case: Case) -> bool:
        if result.case is None and deadline is not None and time.monotonic() > deadline:
            return False
        result.cases += 1
        found = compare(case, left, right)
        if found:
            result.case, result.differences = case, tuple(found)
        return bool(found)

    import random

    try:
        find(
            CASES,
            differs,
            random=None if seed is None else random.Random(seed),
            settings=settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=seed is None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            ),
        )
    except NoSuchExample:
        pass
    return result
