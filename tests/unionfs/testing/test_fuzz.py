"""The search finds nothing in the driver, and every planted bug."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from unionfs.testing.bench import Lab
from unionfs.testing.compare import Case, compare
from unionfs.testing.drivers import find_driver
from unionfs.testing.fuzz import fuzz
from unionfs.testing.language import Rename, SetDefaultAcl, Write, WriteFile
from unionfs.testing.layers import file
from unionfs.testing.script import case_script

pytestmark = [pytest.mark.mounted, pytest.mark.differential]

EXAMPLES = int(os.environ.get("UNIONFS_LAB_EXAMPLES", "180"))
SEED = 20
INDEXED = "kernel:redirect_dir=on,index=on"
PAIRS = (("kernel", "unionfs"), (INDEXED, "unionfs"), ("kernel@userns", "unionfs@userns"))

MUTANTS_FILE = Path(__file__).with_name("mutants.py")
# What a sequence of answers and trees cannot show has its own detector: see test_matrix.py for the
# first and test_crash.py for the second.
FOUND_ELSEWHERE = {"filled_holes", "whiteout_after_rename"}
MUTANTS = [m for m in runpy.run_path(str(MUTANTS_FILE))["MUTANTS"] if m not in FOUND_ELSEWHERE]
MUTANT_EXAMPLES = 400


@pytest.mark.slow
@pytest.mark.parametrize(("left", "right"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
def test_no_difference_outside_the_declared_tables(left: str, right: str) -> None:
    with Lab() as lab:
        findings = fuzz(
            lab, find_driver(left), find_driver(right), examples=EXAMPLES, seed_number=SEED
        )
    assert not findings.differences, case_script(
        findings.case or Case((), ()),
        (find_driver(left), find_driver(right)),
        findings.differences,
    )
    assert findings.examples >= EXAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_bug_is_found(mutant: str) -> None:
    with Lab(prelude=f"{MUTANTS_FILE}:plant,{mutant}") as lab:
        findings = fuzz(
            lab,
            find_driver(INDEXED),
            find_driver("unionfs"),
            examples=MUTANT_EXAMPLES,
            seed_number=SEED,
            shrink=False,
        )
    assert findings.differences, f"{mutant} survives {findings.examples} sequences"


def test_a_difference_is_shrunk_to_what_matters() -> None:
    with Lab(prelude=f"{MUTANTS_FILE}:plant,no_whiteout_on_rename") as lab:
        kernel, ours = find_driver("kernel"), find_driver("unionfs")
        findings = fuzz(lab, kernel, ours, examples=100, seed_number=SEED)
    assert findings.case is not None
    assert [type(operation) for operation in findings.case.operations] == [Rename]
    assert sum(len(layer) for layer in findings.case.layers) <= 2


def test_a_mount_that_hangs_is_a_difference_and_leaves_nothing(tmp_path: Path) -> None:
    hang = tmp_path / "hang.py"
    hang.write_text(
        "import time\n"
        "from unionfs import union\n"
        "def plant(_):\n"
        "    union.Union.setattr = lambda self, node, changes: time.sleep(1000)\n"
    )
    with Lab(prelude=f"{hang}:plant,", patience=2) as lab:
        kernel, ours = find_driver("kernel"), find_driver("unionfs")
        case = Case(((file("a", "x"),),), (WriteFile("a", "y"),))
        report = compare(lab, kernel, ours, case)
        root = lab.root
    assert "hung" in str(report.differences[0])
    assert not Path(root).exists()
    assert root not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(
    "operations",
    [
        (WriteFile("a", "y", 2, "append"), SetDefaultAcl(".", 7, 5, 0), Write(0, "x")),
        (WriteFile("a", "y", who=2), WriteFile("a", "z", who=0)),
    ],
    ids=["one actor", "several actors"],
)
def test_the_printed_script_runs_and_tells_each_answer(
    tmp_path: Path, operations: tuple[WriteFile, ...]
) -> None:
    case = Case(((file("a", "x", mode=0o644),),), operations)
    path = tmp_path / "script.py"
    path.write_text(case_script(case, (find_driver("kernel"),)))
    # A mount namespace, so that a failing script leaves nothing mounted.
    done = subprocess.run(
        ["unshare", "-m", "/usr/bin/python3", str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for operation in operations:
        assert str(operation) in done.stdout
    assert "== kernel" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["drivers"], 0, "kernel"),
        (["fuzz", "--left", "nothing"], 2, "unknown driver 'nothing'"),
        (["fuzz", "--right", "cmd:/does/not/exist"], 2, "is not installed"),
        (["fuzz", "--right", "cmd:false", "--examples", "1"], 2, "cmd:false cannot mount"),
        (["fuzz", "--examples", "3", "--seed", "1"], 0, "3 sequences"),
        (["fuzz", "--examples", "3", "--right", "cmd:unionfs"], 0, "no difference"),
    ],
)
def test_the_program_says_how_it_went(arguments: list[str], status: int, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unionfs.testing", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert (done.returncode, says in done.stdout + done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
