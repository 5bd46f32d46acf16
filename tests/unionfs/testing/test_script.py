"""A case as a program, in Python and for the shell."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unionfs.testing.compare import Case
from unionfs.testing.drivers import find_driver
from unionfs.testing.language import SetDefaultAcl, Write, WriteFile
from unionfs.testing.layers import file
from unionfs.testing.script import case_script

pytestmark = [pytest.mark.mounted, pytest.mark.differential]


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
        ["unshare", "-m", sys.executable, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for operation in operations:
        assert str(operation) in done.stdout
    assert "== kernel" in done.stdout
    shutil.rmtree(done.stdout.split()[-1])
