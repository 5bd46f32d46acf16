"""A crash or an error at any system call leaves the old state or the new one, and a mount that lives."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from unionfs.testing.bench import Lab
from unionfs.testing.crash import ERRNOS, Matrix, States, crash_matrix
from unionfs.testing.language import Close, Create, Fsync, Open, Write
from unionfs.testing.mutations import MUTATIONS, Mutation
from unionfs.testing.snapshot import Tree

MUTANTS_FILE = Path(__file__).with_name("mutants.py")
RENAME_MUTANT = f"{MUTANTS_FILE}:plant,whiteout_after_rename"
GROUPS = [
    list(group) for _, group in itertools.groupby(MUTATIONS, key=lambda m: m.name.partition(":")[0])
]


@pytest.fixture(scope="module")
def total() -> Matrix:
    """What all groups did together."""
    return Matrix()


@pytest.mark.mounted
@pytest.mark.differential
@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0].name.partition(":")[0])
def test_killed_or_refused_at_any_call(group: list[Mutation], total: Matrix) -> None:
    """After call n is before call n + 1; which errno a call fails with goes round."""
    with Lab() as lab:
        matrix = crash_matrix(
            lab, group, whens=("after",), errnos=lambda point: (ERRNOS[point % len(ERRNOS)],)
        )
    assert not matrix.failures, "\n".join(map(str, matrix.failures))
    total.points |= matrix.points
    total.kills += matrix.kills
    total.errors += matrix.errors


@pytest.mark.slow
def test_the_size_of_the_matrix(total: Matrix, capsys: pytest.CaptureFixture[str]) -> None:
    """Every change makes a call, and they are as many as they were."""
    if len(total.points) < len(MUTATIONS):
        pytest.skip("impossible here: only some of the mutations were run")
    with capsys.disabled():
        print(f"\n{total}")
    assert all(total.points.values())
    assert sum(total.points.values()) > 8 * len(MUTATIONS)
    assert total.kills >= sum(total.points.values())


@pytest.mark.mounted
@pytest.mark.differential
@pytest.mark.parametrize(
    ("mutant", "name"),
    [("whiteout_after_rename", "rename: lower file"), ("no_opaque_over_whiteout", "mkdir: over")],
)
def test_a_planted_bug_is_found(mutant: str, name: str) -> None:
    mutations = [m for m in MUTATIONS if m.name.startswith(name)][:1]
    with Lab(prelude=f"{MUTANTS_FILE}:plant,{mutant}") as lab:
        matrix = crash_matrix(lab, mutations, errnos=lambda point: ())
    assert matrix.failures


AUFS_UPPER = """
from unionfs import stack, upper

def plant(_):
    def pick(made):
        made.whiteouts = upper.AufsWhiteouts(made)
    stack.pick_whiteouts = pick
"""


@pytest.mark.mounted
@pytest.mark.differential
def test_an_upper_with_whiteout_files_is_as_safe(tmp_path: Path) -> None:
    """There a change and its whiteout are two steps. Kernel overlayfs does not read these."""
    prelude = tmp_path / "prelude.py"
    prelude.write_text(AUFS_UPPER)
    names = (
        "rename: lower file", "rename: upper directory", "unlink: upper file over a lower one",
        "rmdir: emptied directory", "mkdir: over a whiteout",
    )  # fmt: skip
    with Lab(prelude=f"{prelude}:plant,") as lab:
        matrix = crash_matrix(
            lab,
            [m for m in MUTATIONS if m.name in names],
            peer="unionfs",
            whens=("after",),
            errnos=lambda point: ("EIO",),
        )
    assert len(matrix.points) == len(names)
    assert not matrix.failures, "\n".join(map(str, matrix.failures))


def test_unsynced_data_may_be_lost_until_fsync() -> None:
    steps = (Open(0, "f", "RDWR"), Write(0, "x"), Fsync(0), Close(0), Create("g"))
    trees: list[Tree] = [{str(number): {}} for number in range(len(steps) + 1)]
    states = States(Mutation("m", steps), trees)
    allowed = [[int(*tree) for tree in states.allowed(position)] for position in range(len(steps))]
    assert allowed == [[0, 1], [1, 2], [1, 2, 3], [3, 4], [4, 5]]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--list", "--mutation", "rename*"], 0, "rename: exchange of files"),
        (["--mutation", "nothing"], 2, "no mutation is called 'nothing'"),
        (["--on", "kernel"], 2, "only unionfs can be told where to crash"),
        (["--errnos", "EIO,ELSE"], 2, "'ELSE' is not the name of an errno"),
        (["--mutation", "mkdir: new", "--errnos", "EIO"], 0, "2 kills, 1 errors, 0 failures"),
        (
            ["--mutation", "rename: lower file", "--errnos", "none", "--prelude", RENAME_MUTANT],
            1,
            "rename: lower file, faults=*:",
        ),
    ],
)
@pytest.mark.mounted
@pytest.mark.differential
def test_the_program_says_how_it_went(arguments: list[str], status: int, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unionfs.testing", "crash", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, says in done.stdout + done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
