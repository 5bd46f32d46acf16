"""Every bug that `mutants` plants is found: by the search, by a kept case, or by the crash matrix."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from unionfs.testing import casefile
from unionfs.testing.bench import Lab
from unionfs.testing.compare import compare
from unionfs.testing.drivers import find_driver
from unionfs.testing.fuzz import fuzz

pytestmark = [pytest.mark.mounted, pytest.mark.differential]

HERE = Path(__file__).parent
MUTANTS_FILE = HERE / "mutants.py"
MUTANTS = runpy.run_path(str(MUTANTS_FILE))["MUTANTS"]
# Some are of bugs that were real, and have no mutant.
CASES = sorted((HERE / "cases").glob("*.jsonl"))
# What random sequences meet soon enough. A rarer one has a case of its name.
BY_SEARCH = (
    "no_whiteout_on_rename",
    "no_whiteout_on_unlink",
    "no_setgid",
    "short_copy",
    "rmdir_of_anything",
    "stale_children",
    "exchange_renames",
    "touched_parent",
    "broken_hard_links",
    "no_redirect",
    "lost_mode",
)
# Only somebody who interrupts the rename can see this one: see test_crash.py.
BY_CRASH = ("whiteout_after_rename",)
SEED, EXAMPLES = 22, 100
INDEXED = "kernel:redirect_dir=on,index=on"


def planted(mutant: str) -> Lab:
    """A lab in which our driver has that bug."""
    assert mutant in MUTANTS
    return Lab(prelude=f"{MUTANTS_FILE}:plant,{mutant}")


def test_every_planted_bug_has_a_test_that_finds_it() -> None:
    by_case = {case.stem for case in CASES}
    assert MUTANTS.keys() <= {*BY_SEARCH, *by_case, *BY_CRASH}
    assert len(MUTANTS) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("mutant", BY_SEARCH)
def test_the_search_finds(mutant: str) -> None:
    with planted(mutant) as lab:
        findings = fuzz(
            lab,
            find_driver(INDEXED),
            find_driver("unionfs"),
            examples=EXAMPLES,
            seed_number=SEED,
            cross=False,
            shrink=False,
        )
    assert findings.differences, f"{mutant} survives {findings.examples} sequences"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_kept_case_differs_only_with_its_bug(path: Path) -> None:
    case = casefile.read(str(path))
    kernel, ours = find_driver(INDEXED), find_driver("unionfs")
    with Lab() as lab:
        assert not compare(lab, kernel, ours, case).differences
    if path.stem not in MUTANTS:
        return
    with planted(path.stem) as lab:
        assert compare(lab, kernel, ours, case, cross=False).differences
