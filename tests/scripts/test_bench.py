"""scripts/bench works; how fast anything is, is for no test to judge."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/bench"

pytestmark = [
    pytest.mark.needs("root", "fuse", "overlay", "fuse-overlayfs", "unionfs-fuse", "git"),
    pytest.mark.mounted,
    pytest.mark.slow,
]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, timeout=280, check=False
    )


def test_every_workload(tmp_path: Path) -> None:
    stem = tmp_path / "result"
    drivers = ["unionfs", "fuse-overlayfs", "kernel"]
    words = ("--small", "--rounds", "1", "--drivers", ",".join(drivers))
    done = bench(*words, "--output", stem)
    assert done.returncode == 0, done.stderr
    result = json.loads(stem.with_suffix(".json").read_text())
    assert len(result["seconds"]) >= 20
    for workload, seconds in result["seconds"].items():
        for driver in drivers:
            assert len(seconds[driver]) == 1, (workload, driver)
            assert seconds[driver][0] > 0, (workload, driver)
    assert stem.with_suffix(".md").read_text() in done.stdout
    assert stem.with_suffix(".svg").read_text().startswith("<svg")


def test_every_driver() -> None:
    done = bench("--small", "--rounds", "1", "missing", "create")
    assert done.returncode == 0, done.stderr
    head, _, *rows = done.stdout.splitlines()
    names = ["unionfs", "unionfs:passthrough=all", "fuse-overlayfs", "kernel", "unionfs-fuse"]
    assert head.split(" | ")[1 : len(names) + 1] == [f"{name} s" for name in names]
    for row in rows[:2]:
        assert all(float(cell) > 0 for cell in row.split(" | ")[1 : len(names) + 1])


@pytest.mark.parametrize("words", [["no-such-workload"], ["--drivers", "nothing"]])
def test_unknown_names_are_refused_with_the_known_ones(words: list[str]) -> None:
    done = bench(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("bench: unknown ")
    assert "known: " in done.stderr
    assert done.stderr.count("\n") == 1
