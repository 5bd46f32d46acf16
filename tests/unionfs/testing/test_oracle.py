"""The comparison finds what it should: every planted bug, and nothing in the real driver."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unionfs.testing import Case, Operation, compare, find_driver, script
from unionfs.testing.tables import Layer, Thing

pytestmark = [pytest.mark.mounted, pytest.mark.differential]

MUTANTS = Path(__file__).with_name("mutants.py")
LOWER: Layer = {
    "f": Thing("file", "content", 0o4755),
    "d/x": Thing("file", "lower"),
    "d/s": Thing("dir", mode=0o2775),
    "e": Thing("dir"),
}
BETWEEN: tuple[Layer, ...] = (
    {"m": Thing("dir")},
    {"m": Thing("file", "between")},
    {"m/hidden": Thing("file", "x")},
)

KILLS: dict[str, tuple[tuple[Layer, ...], list[tuple[str, ...]]]] = {
    "no_opaque_over_whiteout": ((LOWER,), [("rmtree", "d"), ("mkdir", "d")]),
    "no_whiteout_on_rename": ((LOWER,), [("rename", "f", "g")]),
    "no_whiteout_on_unlink": ((LOWER,), [("chmod", "f"), ("unlink", "f")]),
    "no_setgid": ((LOWER,), [("mkdir", "d/s/new")]),
    "lost_mode": ((LOWER,), [("setxattr", "f")]),
    "short_copy": ((LOWER,), [("setxattr", "f")]),
    "no_redirect": ((LOWER,), [("rename", "d", "e/moved")]),
    "rmdir_of_anything": ((LOWER,), [("rmdir", "d")]),
    "stale_children": ((LOWER,), [("unlink", "f"), ("readdir", ".")]),
    "files_merge_directories": (BETWEEN, [("readdir", "m")]),
    "exchange_renames": ((LOWER,), [("create", "new"), ("exchange", "f", "new")]),
}


def case_of(mutant: str) -> Case:
    layers, words = KILLS[mutant]
    operations = []
    for word in words:
        name, path, *other = word
        operations.append(
            Operation(name, path, *other, number=3) if other else Operation(name, path, "", 3)
        )
    return Case(layers, tuple(operations))


@pytest.mark.parametrize("mutant", KILLS)
def test_every_planted_bug_is_found_and_only_that(mutant: str) -> None:
    case, kernel = case_of(mutant), find_driver("kernel")
    assert compare(case, kernel, find_driver("unionfs")) == []
    found = compare(case, kernel, find_driver(f"cmd:{sys.executable} {MUTANTS} {mutant}"))
    assert found, f"{mutant} was not noticed"


def test_every_mutant_has_a_case() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import runpy; print(*runpy.run_path({str(MUTANTS)!r})['MUTANTS'])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == list(KILLS)


def test_a_case_prints_as_python_that_runs(tmp_path: Path) -> None:
    operations = [
        Operation("mkdir", "d", "", 1),
        Operation("create", "d/f", "", 2),
        Operation("stat", "d/f"),
    ]
    code = "import os, shutil, stat\n" + script(operations)
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL
    )
    assert (tmp_path / "d/f").read_bytes() == b"new2"


def test_operations_survive_json() -> None:
    operation = Operation("rename", "a", "b", 7)
    assert Operation.from_json(operation.to_json()) == operation
    with pytest.raises(ValueError, match="unknown operation"):
        Operation.from_json('{"name": "format", "path": "c"}')
    with pytest.raises(ValueError, match="not an operation"):
        Operation.from_json('{"nom": "stat"}')
