"""The program: what it says, where, and its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unionfs.testing import casefile, language
from unionfs.testing.compare import Case
from unionfs.testing.layers import file

pytestmark = [pytest.mark.mounted, pytest.mark.differential]

MUTANTS_FILE = Path(__file__).with_name("mutants.py")
NO_WHITEOUT = f"{MUTANTS_FILE}:plant,no_whiteout_on_rename"
RENAME = Case(((file("a", "x"),),), (language.Rename("a", "b"),))


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program; `unionfs` is on its path, for cmd:."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "unionfs.testing", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
        timeout=120,
    )


@pytest.fixture
def stored(tmp_path: Path) -> str:
    """A case in a file: one rename."""
    path = tmp_path / "rename.jsonl"
    path.write_text(casefile.dump(RENAME))
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["drivers"], 0, "kernel"),
        (["fuzz", "--left", "nothing"], 2, "unknown driver 'nothing'"),
        (["fuzz", "--known", "("], 2, "'(' is not a regular expression"),
        (["fuzz", "--right", "cmd:/does/not/exist"], 2, "is not installed"),
        (["fuzz", "--right", "cmd:false", "--examples", "1"], 2, "cmd:false cannot mount"),
        (["fuzz", "--examples", "3", "--seed", "1"], 0, "3 sequences"),
        (["fuzz", "--examples", "3", "--right", "cmd:unionfs"], 0, "no difference"),
    ],
)
def test_the_program_says_how_it_went(arguments: list[str], status: int, says: str) -> None:
    done = lab(*arguments)
    assert (done.returncode, says in done.stdout + done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ((), 0),
        (("--prelude", NO_WHITEOUT), 1),
        (("--prelude", NO_WHITEOUT, "--known", "remount: a\n", "--known", "on the upper of"), 0),
    ],
    ids=["same", "different", "known"],
)
def test_a_stored_case_is_run_again(stored: str, more: tuple[str, ...], status: int) -> None:
    done = lab("run", stored, *more)
    assert done.returncode == status, done.stderr
    assert ("#!/usr/bin/env python3" in done.stdout) == bool(status)


@pytest.mark.parametrize(
    ("language", "head"), [("python", "#!/usr/bin/env python3"), ("shell", "#!/bin/sh")]
)
def test_a_stored_case_is_printed(stored: str, language: str, head: str) -> None:
    done = lab("run", stored, "--print", "--script", language)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, head)


def test_what_is_found_is_shortened_printed_and_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    done = lab(
        "fuzz",
        "--seed",
        "20",
        "--no-cross",
        "--prelude",
        NO_WHITEOUT,
        "--script",
        "shell",
        "--save",
        str(kept),
    )
    assert done.returncode == 1, done.stderr
    assert "seed 20" in done.stderr
    assert done.stdout.startswith("#!/bin/sh")
    case = casefile.read(str(kept))
    assert [type(step) for step in case.operations] == [language.Rename]
    assert sum(map(len, case.layers)) <= 2


def test_a_file_that_is_no_case_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "no.jsonl"
    path.write_text("{}\n")
    done = lab("run", str(path))
    assert done.returncode == 2
    assert done.stderr == (
        f'unionfs-lab: {path}: line 1 is not the head of a case: it has "format": '
        '"unionfs-lab case 1"\n'
    )
