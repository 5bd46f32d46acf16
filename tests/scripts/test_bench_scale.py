"""scripts/bench-scale works; the numbers are for no test to judge."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/bench-scale"

pytestmark = [
    pytest.mark.needs("root", "fuse", "overlay", "fuse-overlayfs"),
    pytest.mark.mounted,
    pytest.mark.slow,
]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, timeout=280, check=False
    )


def test_every_measurement_of_every_driver(tmp_path: Path) -> None:
    stem = tmp_path / "result"
    done = bench("--small", "--rounds", "1", "--base", tmp_path, "--output", stem)
    assert done.returncode == 0, done.stderr
    rows = json.loads(stem.with_suffix(".json").read_text())["rows"]
    drivers = ["unionfs", "fuse-overlayfs", "kernel"]
    with_daemon, ours = drivers[:2], drivers[:1]
    measured = [list(row["values"]) for row in rows]
    assert measured == [drivers, drivers, with_daemon, with_daemon, drivers, drivers, ours, ours]
    assert all(row["values"]["unionfs"] > 0 for row in rows if row["unit"] in ("ms", "s", "bytes"))
    assert done.stdout == stem.with_suffix(".md").read_text()
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nonsense"], 2, "no measurement nonsense; known: start, "),
        (["--drivers", "nofs", "start"], 1, "bench-scale: unknown driver 'nofs'"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments: list[str], status: int, message: str) -> None:
    done = bench(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
